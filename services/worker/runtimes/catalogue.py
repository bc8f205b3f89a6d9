"""The families of runtimes that there are. A family to come is a folder and a line here."""

from __future__ import annotations

from pathlib import Path

from services.worker.runtimes.contract import RuntimeFamily, UnsupportedRuntimeError
from services.worker.runtimes.host import architecture
from services.worker.runtimes.java.family import JavaFamily
from services.worker.runtimes.nodejs.family import NodejsFamily
from services.worker.runtimes.provided.family import ProvidedFamily
from services.worker.runtimes.python.family import PythonFamily
from services.worker.runtimes.ruby.family import RubyFamily
from services.worker.sandbox.recipe import Recipe
from shared.dispatch.cell.worker_record import Capabilities
from shared.domain.runtimes import RUNTIMES_OFFERED
from shared.settings import WorkerSettings

_CHECKOUT = Path(__file__).resolve().parents[3]


class Catalogue:
    """What this worker can run. Its families have looked around the host once it is made."""

    def __init__(self, settings: WorkerSettings) -> None:
        installed = settings.runtime_dir or _CHECKOUT / ".runtimes"
        self._families: tuple[RuntimeFamily, ...] = (
            PythonFamily(installed, settings.fresh_interpreters),
            NodejsFamily(installed),
            RubyFamily(),
            JavaFamily(installed),
            ProvidedFamily(),
        )

    def family(self, runtime: str) -> RuntimeFamily:
        """The family that serves a runtime. Raises UnsupportedRuntimeError when none could."""
        for family in self._families:
            if family.serves(runtime):
                return family
        known = ", ".join(family.name for family in self._families)
        raise UnsupportedRuntimeError(f"{runtime} is not a runtime that this worker knows; it knows those of {known}")

    def recipe(self, runtime: str) -> Recipe:
        """Raises UnsupportedRuntimeError, saying what to install."""
        return self.family(runtime).recipe(runtime)

    def supports(self, runtime: str) -> bool:
        try:
            self.recipe(runtime)
        except UnsupportedRuntimeError:
            return False
        return True

    def capabilities(self) -> Capabilities:
        """What this worker says of itself to the cluster."""
        return Capabilities(architecture(), tuple(runtime for runtime in RUNTIMES_OFFERED if self.supports(runtime)))

    def installed(self) -> list[str]:
        """Every runtime that really runs here, family by family: each in the version that its name says."""
        return [runtime for family in self._families for runtime in family.installed() if self.supports(runtime)]
