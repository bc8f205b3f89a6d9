"""Apache Kafka's jars, and Java functions': pinned by coordinate and SHA-256 in locks, fetched by jgo, verified, cached.

The cache is a Maven repository's layout, so that one filled elsewhere can be copied in for machines without a network.
`python -m deploy.local.jars` fetches Kafka's, `python -m deploy.local.jars lock` resolves the roots below again and rewrites
the locks.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.certificates import trusted
from shared.domain.errors import ConfigurationError

KAFKA_VERSION = "4.1.2"
DOWNLOAD_TIMEOUT_S = 60
PARALLEL_DOWNLOADS = 4
ATTEMPTS_MAX = 3
HASH_CHUNK_BYTES = 1024 * 1024

Progress = Callable[[str, int], None]
"""Called with a jar's name and the bytes that just arrived."""


@dataclass(frozen=True)
class Jar:
    """coordinate: group:artifact:version, and :classifier for one of several files of a version."""

    coordinate: str
    sha256: str
    size_bytes: int

    @property
    def name(self) -> str:
        _, *parts = self.coordinate.split(":")
        return f"{'-'.join(parts)}.jar"

    def path(self, cache: Path) -> Path:
        group, artifact, version, *_ = self.coordinate.split(":")
        return cache / group.replace(".", "/") / artifact / version / self.name


@dataclass(frozen=True)
class JarSet:
    """title: as people are told. lock: file beside this one. roots: coordinates that the lock is resolved from."""

    title: str
    lock: Path
    roots: tuple[str, ...]


_HERE = Path(__file__).parent
KAFKA = JarSet(
    f"Apache Kafka {KAFKA_VERSION}",
    _HERE / "kafka.lock",
    (
        f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
        # Without a binding Kafka logs nothing, which is noticed when it matters.
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3",
    ),
)
JAVA_CLIENT = JarSet(
    "AWS's runtime client for Java",
    _HERE / "java-client.lock",
    ("com.amazonaws:aws-lambda-java-runtime-interface-client:2.10.1",),
)
JAVA_COMPILER = JarSet("Eclipse's compiler for Java", _HERE / "java-compiler.lock", ("org.eclipse.jdt:ecj:3.46.100",))
JAVA_EVENTS = JarSet("AWS's event classes", _HERE / "java-events.lock", ("com.amazonaws:aws-lambda-java-events:3.16.1",))
ALL = (KAFKA, JAVA_CLIENT, JAVA_COMPILER, JAVA_EVENTS)


def cache_home() -> Path:
    """Where downloads that any checkout can use are kept: `lambdad` under the XDG cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or (Path.home() / ".cache")
    return Path(base) / "lambdad"


def jar_cache() -> Path:
    """The jars' directory: LAMBDAD_JAR_CACHE, by default under the cache home."""
    named = os.environ.get("LAMBDAD_JAR_CACHE")
    return Path(named) if named else cache_home() / "jars"


def read_lock(path: Path) -> tuple[Jar, ...]:
    lines = (line.split() for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(Jar(coordinate, sha256, int(size)) for coordinate, sha256, size in lines)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def ensure_jars(wanted: JarSet = KAFKA, only: tuple[Jar, ...] | None = None) -> tuple[Path, ...]:
    """Every jar of the lock as a verified local file, in the lock's order; downloads what is missing and shows how far it is.

    only: those that are needed of the lock. Raises ConfigurationError when a jar cannot be had or is not the pinned one.
    """
    cache, jars = jar_cache(), read_lock(wanted.lock) if only is None else only
    missing = [jar for jar in jars if not _is_good(jar, cache)]
    if missing:
        _download(wanted, missing, cache)
    return tuple(jar.path(cache) for jar in jars)


def present_jars(wanted: JarSet = KAFKA) -> tuple[Path, ...] | None:
    """The jars when all are in the cache with the pinned size (their content was verified when they came), else None."""
    cache, jars = jar_cache(), read_lock(wanted.lock)
    paths = tuple(jar.path(cache) for jar in jars)
    for jar, path in zip(jars, paths, strict=True):
        try:
            if path.stat().st_size != jar.size_bytes:
                return None
        except OSError:
            return None
    return paths


def _is_good(jar: Jar, cache: Path) -> bool:
    path = jar.path(cache)
    try:
        return path.stat().st_size == jar.size_bytes and sha256_of(path) == jar.sha256
    except OSError:
        return False


def _download(wanted: JarSet, missing: list[Jar], cache: Path) -> None:
    if os.environ.get("LAMBDAD_OFFLINE") == "1":
        raise ConfigurationError(
            f"{len(missing)} jars of {wanted.title} are not in {cache} and LAMBDAD_OFFLINE=1 forbids downloading "
            f"them, e.g. {missing[0].coordinate}. Fill that directory (or the LAMBDAD_JAR_CACHE) on a machine with a network."
        )
    cache.mkdir(parents=True, exist_ok=True)
    incoming_dir = tempfile.TemporaryDirectory(prefix=".incoming-", dir=cache)
    with trusted(), incoming_dir as incoming, _progress(wanted.title, missing) as arrived:
        with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
            futures = [pool.submit(_fetch, wanted, jar, Path(incoming), cache, arrived) for jar in missing]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _fetch(wanted: JarSet, jar: Jar, incoming: Path, cache: Path, arrived: Progress) -> None:
    last_error = "no attempt was made"
    for _ in range(ATTEMPTS_MAX):
        try:
            fetched = _context(incoming, arrived).create_dependency(jar.coordinate).artifact.resolve()
        # jgo lets its HTTP library's errors through; whatever it was, the next attempt or the operator decides.
        except Exception as error:
            last_error = str(error).splitlines()[0] if str(error) else type(error).__name__
            jar.path(incoming).unlink(missing_ok=True)
            continue
        found = sha256_of(fetched)
        if found != jar.sha256:
            raise ConfigurationError(
                f"{jar.coordinate} is not what {wanted.lock.name} pins: SHA-256 {found} instead of {jar.sha256}. "
                "The repository or mirror it came from is not to be trusted."
            )
        target = jar.path(cache)
        target.parent.mkdir(parents=True, exist_ok=True)
        fetched.replace(target)
        return
    raise ConfigurationError(
        f"{jar.coordinate} could not be downloaded: {last_error}. "
        "LAMBDAD_MAVEN_MIRROR names another repository, LAMBDAD_JAR_CACHE a directory that already holds the jars."
    )


def _context(repo_cache: Path, arrived: Progress | None = None):  # type: ignore[no-untyped-def]  # jgo has no types
    # Imported here: jgo costs 0.2 s, and a warm start needs none of it.
    from jgo.maven import MavenContext, PythonResolver

    @contextmanager
    def report(filename: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda count: arrived(filename, count) if arrived else None

    mirror = os.environ.get("LAMBDAD_MAVEN_MIRROR", "").rstrip("/")
    remotes = {"mirror": mirror} if mirror else None
    resolver = PythonResolver(progress_callback=report)
    return MavenContext(repo_cache=repo_cache, remote_repos=remotes, timeout=DOWNLOAD_TIMEOUT_S, resolver=resolver)


@contextmanager
def _progress(title: str, missing: list[Jar]) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    total = sum(jar.size_bytes for jar in missing)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console.print(f"{title}: downloading {len(missing)} jars, {total / 1e6:.0f} MB")
    done, next_line = 0, total // 5
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("jars", total=total)

        def arrived(name: str, count: int) -> None:
            nonlocal done, next_line
            done += count
            bar.update(task, advance=count, description=name)
            if not console.is_terminal and done >= next_line:
                console.print(f"  {done / 1e6:.0f} of {total / 1e6:.0f} MB")
                next_line += max(total // 5, 1)

        yield arrived


def write_lock(wanted: JarSet) -> None:
    """Resolve the roots' transitive runtime dependencies and pin every jar by its SHA-256."""
    with trusted(), tempfile.TemporaryDirectory() as scratch:
        context = _context(Path(scratch))
        pinned: dict[str, str] = {}
        # One root at a time: resolved together, a root's managed versions (log4j's parent manages Kafka's) bend the others'.
        for root in wanted.roots:
            inputs, transitive = context.resolver.resolve([context.create_dependency(root)])
            for dependency in inputs + transitive:
                name = f"{dependency.groupId}:{dependency.artifactId}"
                if name not in pinned:
                    path = dependency.artifact.resolve()
                    pinned[name] = f"{name}:{dependency.version} {sha256_of(path)} {path.stat().st_size}"
    header = "# coordinate, SHA-256, size in bytes. Made by `make lock` from the roots in jars.py.\n"
    wanted.lock.write_text(header + "\n".join(sorted(pinned.values())) + "\n")


def main() -> int:
    try:
        if sys.argv[1:] == ["lock"]:
            for wanted in ALL:
                write_lock(wanted)
        else:
            ensure_jars()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
