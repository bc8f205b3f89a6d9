"""CPython for functions: the builds that our pinned uv knows by hash, and where those cannot be reached, the ones of
org.bytedeco:cpython, whole interpreters in a Maven repository, which python-builds.lock pins.

uv's are newer and about twice as fast, for they were optimised by profile; they come from a place that not every network lets
in. LAMBDAD_PYTHON_BUILDS=uv or maven asks one alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from pathlib import Path

from deploy.local.bootstrap import UV, SetupError, open_to_functions, run, say
from deploy.local.jars import Jar, JarSet, ensure_jars, read_lock
from deploy.local.layout import RUNTIMES
from deploy.local.made_beside import made_beside
from services.worker.runtimes.host import architecture
from services.worker.runtimes.python.interpreters import INTERPRETERS
from shared.domain.errors import ConfigurationError

SOURCES = "LAMBDAD_PYTHON_BUILDS"
BUILDS = JarSet("CPython", Path(__file__).with_name("python-builds.lock"), ())
"""Each by itself, an interpreter an architecture: nothing is resolved."""
_UNREACHABLE_SOON = {"UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_TIMEOUT": "30", "UV_HTTP_RETRIES": "1"}
_ROOT = re.compile(r"org/bytedeco/cpython/linux-\w+/(?P<path>.+)")
_LEFT_OUT = re.compile(
    r"include/|share/|lib/(cmake|pkgconfig)/|lib/python[\d.]+/(test|idlelib|turtledemo|site-packages)/|python"
)
"""What functions never read: headers, manuals, tests, a second copy of the program, installers."""
_PROGRAM = re.compile(r"bin/python3\.\d+")
_TRUST = re.compile(rb"(?<=\0)/[^\0]*/cppbuild/linux-\w+/ssl((?:/[\w.]*)*)\0")
"""Where OpenSSL was told to look for authorities: a folder of the machine that it was built on."""
_TRUSTED_HERE = b"/etc/ssl"
_NEEDED = "import ctypes, hashlib, json, socket, ssl, zlib, sys; print('python%d.%d' % sys.version_info[:2])"
CHECK_TIMEOUT_S = 30


def install_python(runtime: str) -> None:
    """Raises SetupError."""
    sources = os.environ.get(SOURCES) or "uv,maven"
    say(runtime)
    jar = _pinned(runtime)
    if "uv" in sources:
        another = "maven" in sources and jar is not None
        try:
            _install_by_uv(runtime, quiet=another)
            return
        except SetupError as error:
            if not another:
                raise
            say(f"    uv can get no build of it ({error}): taken from a Maven repository")
    if jar is None:
        raise SetupError(f"no package registry has a build of {runtime} for {architecture()}, and uv was not to be asked")
    _install_by_maven(runtime, jar)


def _install_by_uv(runtime: str, *, quiet: bool) -> None:
    variables = {
        "UV_PYTHON_DOWNLOADS": "manual",
        "UV_PYTHON_INSTALL_DIR": str(RUNTIMES / INTERPRETERS),
        **{name: value for name, value in _UNREACHABLE_SOON.items() if name not in os.environ},
    }
    run(UV, "python", "install", "--no-bin", runtime.removeprefix("python"), folder=None, quiet=quiet, **variables)
    open_to_functions(RUNTIMES / INTERPRETERS)


def _pinned(runtime: str) -> Jar | None:
    """The newest pinned build of this version for this machine."""
    wanted = re.compile(rf"org\.bytedeco:cpython:{re.escape(runtime.removeprefix('python'))}\.\d[\w.-]*:linux-{architecture()}")
    return next((jar for jar in reversed(read_lock(BUILDS.lock)) if wanted.fullmatch(jar.coordinate)), None)


def _install_by_maven(runtime: str, jar: Jar) -> None:
    _, _, version, machine = jar.coordinate.split(":")
    with made_beside(
        RUNTIMES / INTERPRETERS / f"cpython-{version.partition('-')[0]}-{machine}", "build", jar.sha256
    ) as partial:
        if partial is not None:
            try:
                (archive,) = ensure_jars(BUILDS, (jar,))
            except ConfigurationError as error:
                raise SetupError(str(error)) from error
            _unpack(archive, partial)
            _check(runtime, partial / "bin" / runtime)


def _unpack(jar: Path, folder: Path) -> None:
    with zipfile.ZipFile(jar) as archive:
        for entry in archive.infolist():
            found = _ROOT.fullmatch(entry.filename)
            if found is None or entry.is_dir() or _LEFT_OUT.match(found["path"]):
                continue
            path = found["path"]
            if path.startswith("bin/") and not _PROGRAM.fullmatch(path):
                continue
            if path.startswith("libpython"):
                # Where LD_LIBRARY_PATH has it found in sandboxes, too: the loader cannot tell where a program lies there.
                path = f"lib/{path}"
            elif path.startswith("libffi.so"):
                # Beside the module that needs it, which looks there.
                path = f"lib/{_version_folder(archive)}/lib-dynload/{path}"
            _write(folder / path, archive.read(entry), program=path.startswith("bin/") or ".so" in Path(path).name)


def _version_folder(archive: zipfile.ZipFile) -> str:
    return next(found[1] for name in archive.namelist() if (found := re.search(r"/lib/(python3\.\d+)/os\.py$", name)))


def _write(path: Path, content: bytes, *, program: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(trusting_this_system(content) if program else content)
    path.chmod(0o755 if program else 0o644)


def trusting_this_system(binary: bytes) -> bytes:
    """A program whose OpenSSL looks for authorities where Linux systems have them. Nothing in it moves."""

    def replaced(found: re.Match[bytes]) -> bytes:
        return (_TRUSTED_HERE + found[1]).ljust(len(found[0]), b"\0")

    return _TRUST.sub(replaced, binary)


def _check(runtime: str, program: Path) -> None:
    """That it runs here, which an older C library would not let it. Raises SetupError."""
    asked = subprocess.run(
        [str(program), "-I", "-S", "-c", _NEEDED], capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False
    )
    if asked.stdout.strip() != runtime:
        told = (asked.stderr.strip().splitlines() or ["nothing"])[-1]
        raise SetupError(f"the build of {runtime} in the package registry does not run on this machine; it said: {told}")
