"""Python: a zygote for each version, with the runtime client and the SDK imported; a fork of it serves (inside/)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from services.worker.runtimes.contract import Recipe, UnsupportedRuntimeError
from services.worker.runtimes.host import beyond_usr, prefix_of
from services.worker.sandbox import protocol
from services.worker.sandbox.spec import SandboxSpec

MINORS = range(8, 15)
_RUNTIME = re.compile(r"python3\.\d+")
_INSIDE = Path(__file__).parent / "inside"


class PythonFamily:
    """Implements `contract.RuntimeFamily`. clients: folder that has the runtime client of each version in one of its own."""

    name = "python"

    def __init__(self, clients: Path) -> None:
        self._clients = clients
        self._interpreters = find_interpreters()

    def serves(self, runtime: str) -> bool:
        return _RUNTIME.fullmatch(runtime) is not None

    def pool(self, runtime: str) -> str:
        return runtime

    def recipe(self, runtime: str) -> Recipe:
        interpreter = self._interpreters.get(runtime)
        if interpreter is None:
            found = ", ".join(self._interpreters) or "none"
            raise UnsupportedRuntimeError(
                f"{runtime} is not installed on this worker (found: {found}): install {runtime} and restart it"
            )
        client = self._clients / runtime
        if not (client / "awslambdaric").is_dir():
            raise UnsupportedRuntimeError(f"the runtime client of {runtime} is missing in {client}: run `make setup`")
        prefix = prefix_of(interpreter)
        return Recipe(
            family=self,
            pool=runtime,
            interpreter=interpreter,
            prefixes=beyond_usr(prefix),
            kind=protocol.KIND_SERVE,
            inside=_INSIDE,
            runtime_dir=client,
            language_root=prefix,
        )

    def installed(self) -> list[str]:
        return list(self._interpreters)

    def variables(self, runtime: str) -> dict[str, str]:
        return {"LC_CTYPE": "C.UTF-8", "PYTHONPATH": "/var/runtime"}

    def execution_environment(self, runtime: str) -> str | None:
        return f"AWS_Lambda_{runtime}"

    def programs(self, recipe: Recipe, spec: SandboxSpec) -> list[list[str]]:
        """A wrapper is executed, so it gets a command line to go on with: AWS's own client over HTTP."""
        if not spec.wrapper:
            return []
        return [[spec.wrapper, f"/var/lang/bin/{recipe.interpreter.name}", "-m", "awslambdaric", spec.handler]]

    def missing_entrypoint(self, spec: SandboxSpec) -> tuple[str, str] | None:
        return None


def find_interpreters() -> dict[str, Path]:
    """{"python3.12": its executable}. A version manager's own folder wins over PATH, whose entries may be shims."""
    home = Path(os.environ.get("HOME") or Path.home())
    managed = [Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions", home / ".local/share/uv/python"]
    path = [
        Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry and not entry.endswith("/shims")
    ]
    found: dict[str, Path] = {}
    for minor in MINORS:
        name = f"python3.{minor}"
        candidates = [
            folder / "bin" / name
            for root in managed
            for pattern in (f"3.{minor}.*", f"cpython-3.{minor}.*")
            for folder in sorted(root.glob(pattern), key=_version, reverse=True)
        ]
        candidates += [folder / name for folder in (*path, Path("/usr/local/bin"), Path("/usr/bin"))]
        for candidate in candidates:
            if candidate.is_file() and os.access(candidate, os.X_OK):
                found[name] = candidate.resolve()
                break
    return found


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name))
