"""Python: a zygote for each version, with the runtime client and the SDK imported; a fork of it serves (inside/), or an
interpreter that is executed for the function (executed/)."""

from __future__ import annotations

import re
from pathlib import Path

from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.runtimes.host import beyond_usr, prefix_of
from services.worker.runtimes.python.interpreters import INTERPRETERS, find_interpreters
from services.worker.runtimes.variables import reads_other_libraries
from services.worker.sandbox import protocol
from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.spec import SandboxSpec
from shared.domain.runtimes import how_to_install

_RUNTIME = re.compile(r"python3\.\d+")
_INSIDE = Path(__file__).parent / "inside"
_EXECUTED = Path(__file__).parent / "executed"


class PythonFamily:
    """Implements `contract.RuntimeFamily`. installed: folder that has the runtime client of each version in one of its own.
    fresh: every function gets an interpreter that was executed for it, instead of a fork of the zygote."""

    name = "python"

    def __init__(self, installed: Path, fresh: bool = False) -> None:
        self._fresh = fresh
        self._clients = installed
        self._interpreters = find_interpreters(installed / INTERPRETERS)

    def serves(self, runtime: str) -> bool:
        return _RUNTIME.fullmatch(runtime) is not None

    def pool(self, runtime: str) -> str:
        return runtime

    def recipe(self, runtime: str) -> Recipe:
        interpreter = self._interpreters.get(runtime)
        if interpreter is None:
            found = ", ".join(self._interpreters) or "none"
            raise UnsupportedRuntimeError(
                f"{runtime} is not installed on this worker (found: {found}). {how_to_install(runtime)}"
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
            runtime_dirs=(client, _EXECUTED),
            language_root=prefix,
        )

    def installed(self) -> list[str]:
        return list(self._interpreters)

    def variables(self, runtime: str) -> dict[str, str]:
        return {"LC_CTYPE": "C.UTF-8", "PYTHONPATH": "/var/runtime"}

    def execution_environment(self, runtime: str) -> str | None:
        return f"AWS_Lambda_{runtime}"

    def programs(self, recipe: Recipe, spec: SandboxSpec) -> list[list[str]]:
        """A wrapper is executed, so it gets a command line to go on with: AWS's own client over HTTP. So is what its loader
        must know of from the start."""
        command = [f"/var/lang/bin/{recipe.interpreter.name}", "/var/runtime/bootstrap.py"]
        if spec.wrapper:
            return [[spec.wrapper, *command]]
        return [command] if self._fresh or reads_other_libraries(spec) else []

    def missing_entrypoint(self, spec: SandboxSpec) -> tuple[str, str] | None:
        return None
