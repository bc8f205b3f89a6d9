"""Custom runtimes: the package, or a layer, has a program named bootstrap, which speaks the Runtime API."""

from __future__ import annotations

from services.worker.runtimes.host import beyond_usr, own_interpreter, prefix_of
from services.worker.sandbox import protocol
from services.worker.sandbox.programs import is_program
from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.spec import SandboxSpec
from shared.domain.runtimes import CUSTOM

_BOOTSTRAP = "bootstrap"


class ProvidedFamily:
    """Implements `contract.RuntimeFamily`."""

    name = "provided"

    def serves(self, runtime: str) -> bool:
        return runtime == self.name or runtime.startswith(f"{self.name}.")

    def pool(self, runtime: str) -> str:
        return self.name

    def recipe(self, runtime: str) -> Recipe:
        interpreter = own_interpreter()
        return Recipe(
            family=self,
            pool=self.name,
            interpreter=interpreter,
            prefixes=beyond_usr(prefix_of(interpreter)),
            kind=protocol.KIND_EXEC,
            http=True,
        )

    def installed(self) -> list[str]:
        return list(CUSTOM)

    def variables(self, runtime: str) -> dict[str, str]:
        return {}

    def execution_environment(self, runtime: str) -> str | None:
        return None

    def programs(self, recipe: Recipe, spec: SandboxSpec) -> list[list[str]]:
        return [[f"/var/task/{_BOOTSTRAP}"], [f"/opt/{_BOOTSTRAP}"]]

    def missing_entrypoint(self, spec: SandboxSpec) -> tuple[str, str] | None:
        for folder in (spec.code_dir, spec.layers_dir):
            if folder is not None and is_program(folder / _BOOTSTRAP):
                return None
        return "Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
