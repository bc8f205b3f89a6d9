"""`make setup`: from a bare checkout to a `.venv` and runtime clients that work.

Standard library only: it runs before anything else is there. Every step is stamped with a digest of what it was made from,
so that repeating the set-up costs next to nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

from deploy.local.certificates import with_certificates
from services.worker.runtimes.python.interpreters import INTERPRETERS, find_interpreters

CHECKOUT = Path(__file__).resolve().parents[2]
REQUIREMENTS = CHECKOUT / "requirements"
VENV = CHECKOUT / ".venv"
RUNTIMES = CHECKOUT / ".runtimes"
READ_BY_FUNCTIONS = CHECKOUT / "services" / "worker" / "runtimes"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
STAMP = ".lambdad-stamp"
NODE, NODE_SDK = "nodejs24.x", "nodejs-sdk"
"""What every checkout has besides Python: half of what is deployed to AWS Lambda is for Node.js."""
NPM_FILES = ("package.json", "package-lock.json")
PROBE_TIMEOUT_S = 10
INSTALL_TIMEOUT_S = 1_800


class SetupError(Exception):
    """The operator must change something; the text says what."""


def main() -> int:
    began = time.monotonic()
    try:
        open_to_functions(READ_BY_FUNCTIONS)
        changed = [make_venv(), install_project(), install_runtime_clients(), install_node(), install_engines()]
    except SetupError as error:
        print(f"\nmake setup: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if any(changed):
        say(f"Set up in {time.monotonic() - began:.0f} s.")
    return 0


def make_venv() -> bool:
    usable = PYTHON.exists() and is_new_enough(PYTHON)
    if usable and UV.exists() and stamped(VENV, "venv") == digest_of([REQUIREMENTS / "uv.txt"], version_of(PYTHON)):
        return False
    say(f"1/5 Python environment in .venv ({sys.executable}, {sys.version.split()[0]})")
    if not usable:
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            shutil.rmtree(VENV, ignore_errors=True)
            name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
            raise SetupError(
                f"{sys.executable} cannot make a virtual environment. On Debian and Ubuntu: apt-get install {name}-venv "
                f"(or python3-venv). It said:\n{(made.stdout + made.stderr).strip()}"
            )
    run(PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", "-r", REQUIREMENTS / "uv.txt")
    stamp(VENV, "venv", digest_of([REQUIREMENTS / "uv.txt"], version_of(PYTHON)))
    return True


def install_project() -> bool:
    digest = digest_of([REQUIREMENTS / "dev.txt", CHECKOUT / "pyproject.toml"], str(CHECKOUT))
    if stamped(VENV, "project") == digest:
        return False
    say("2/5 Libraries, engines and tools (about 200 MB the first time)")
    install = (UV, "pip", "install", "--python", PYTHON, "--no-deps")
    run(*install, "--require-hashes", "--only-binary", ":all:", "-r", REQUIREMENTS / "dev.txt")
    # The build backend is one of the pinned packages, so nothing unpinned is fetched to build with.
    run(*install, "--no-build-isolation", "--quiet", "--editable", CHECKOUT)
    stamp(VENV, "project", digest)
    return True


def install_runtime_clients() -> bool:
    """For every Python that functions can run on here: AWS's runtime client and SDK, in a folder of its own."""
    changed = False
    for version, interpreter in function_interpreters().items():
        lock = REQUIREMENTS / f"functions-{version}.txt"
        target = RUNTIMES / version
        digest = digest_of([lock], str(interpreter))
        if stamped(target, "client") == digest and is_open(target):
            continue
        if not changed:
            say("3/5 Runtime clients")
        changed = True
        say(f"    {version} ({interpreter})")
        partial = RUNTIMES / f".{version}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            run(UV, "pip", "install", "--quiet", "--python", interpreter, "--target", partial, "--no-deps", "--require-hashes",
                "--only-binary", ":all:", "--compile-bytecode", "-r", lock)  # fmt: skip
        except SetupError as error:
            # An interpreter too new or too odd for the client's wheels costs that runtime, not the set-up.
            say(f"    {version} is left out: {error}")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            stamp(partial, "client", digest)
            (partial / "UNSUPPORTED").write_text(f"{error}\n")
        else:
            stamp(partial, "client", digest)
        open_to_functions(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    return changed


def install_node() -> bool:
    """The newest Node.js of AWS Lambda and the SDK that its functions find. A machine that cannot have it does without."""
    if stamped(RUNTIMES / NODE, "node") == digest_of([REQUIREMENTS / f"functions-{NODE}.txt"]) and stamped(
        RUNTIMES / NODE_SDK, "sdk"
    ) == digest_of([REQUIREMENTS / NODE_SDK / name for name in NPM_FILES]):
        return False
    say("4/5 Node.js")
    try:
        run(PYTHON, "-P", "-m", "deploy.local.cli", "runtimes", "install", NODE, folder=CHECKOUT)
    except SetupError:
        say(f"    {NODE} is left out; `lambdad runtimes install {NODE}` tries again")
    return True


def install_engines() -> bool:
    made_by = ("kafka.lock", "engines/java.py", "engines/java_archive.py")
    digest = digest_of([CHECKOUT / "deploy/local" / name for name in made_by], str(CHECKOUT))
    command = [str(PYTHON), "-P", "-m", "deploy.local.install"]
    if stamped(VENV, "engines") == digest and subprocess.run([*command, "--check"], check=False).returncode == 0:
        return False
    say("5/5 Apache Kafka")
    if subprocess.run(command, check=False).returncode != 0:
        raise SetupError("Apache Kafka could not be installed; see above.")
    stamp(VENV, "engines", digest)
    return True


def function_interpreters() -> dict[str, Path]:
    """Those that workers will find, and that have a runtime client; newest last."""
    return {
        name: path
        for name, path in find_interpreters(RUNTIMES / INTERPRETERS).items()
        if (REQUIREMENTS / f"functions-{name}.txt").exists()
    }


def digest_of(files: list[Path], *more: str) -> str:
    digest = hashlib.sha256("\0".join(more).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def stamped(folder: Path, step: str) -> str | None:
    try:
        return (folder / f"{STAMP}-{step}").read_text().strip()
    except OSError:
        return None


def stamp(folder: Path, step: str, digest: str) -> None:
    (folder / f"{STAMP}-{step}").write_text(digest + "\n")


def open_to_functions(folder: Path) -> None:
    """Every function, whose user is nobody's, reads what it runs under, whichever umask the operator has.

    The modes are set and not left to a umask: installers also link files that they unpacked under another.
    """
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink() and not is_open(path):
            path.chmod(stat.S_IMODE(path.stat().st_mode) | _wanted(path))


def is_open(path: Path) -> bool:
    return path.stat().st_mode & _wanted(path) == _wanted(path)


def _wanted(path: Path) -> int:
    return 0o555 if path.stat().st_mode & stat.S_IXUSR else 0o444


def version_of(interpreter: Path) -> str:
    answer = subprocess.run(
        [str(interpreter), "-c", "import sys; print(sys.version)"],
        capture_output=True,
        text=True,
        timeout=PROBE_TIMEOUT_S,
        check=False,
    )
    return answer.stdout.strip()


def is_new_enough(interpreter: Path) -> bool:
    version = version_of(interpreter).split(".")
    return len(version) > 2 and (int(version[0]), int(version[1])) >= (3, 11)


def run(*command: str | Path, folder: Path | None = None, quiet: bool = False, **variables: str) -> None:
    """A program that installs something, in a folder, with more variables. Raises SetupError when it fails.

    quiet: for what may well fail; it says nothing then, and the error is the end of what it would have said."""
    ours = {"UV_PYTHON_DOWNLOADS": "never", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment = with_certificates({**os.environ, **ours, **variables})
    environment.pop("VIRTUAL_ENV", None)
    words = [str(word) for word in command]
    try:
        ended = subprocess.run(
            words, env=environment, cwd=folder, timeout=INSTALL_TIMEOUT_S, check=False, capture_output=quiet, text=True
        )
    except subprocess.TimeoutExpired:
        raise SetupError(f"`{' '.join(words[:4])} ...` took longer than {INSTALL_TIMEOUT_S // 60} minutes.") from None
    if ended.returncode != 0:
        if quiet:
            last_line = ended.stderr.strip().rpartition("\n")[2].strip().removeprefix("cause: ")
            raise SetupError(last_line or f"status {ended.returncode}")
        raise SetupError(f"`{' '.join(words[:4])} ...` failed with status {ended.returncode}; its message is above.")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
