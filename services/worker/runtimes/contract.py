"""What the worker asks of a family of runtimes. Each has a folder here; only what is in it knows the family.

A family looks for what it needs on the host when it is made, and keeps what it found: who installs an interpreter restarts the
worker. It is asked on the worker's event loop and must not wait.
"""

from __future__ import annotations

from typing import Protocol

from services.worker.sandbox.recipe import Programs, Recipe
from shared.domain.errors import LambdadError


class UnsupportedRuntimeError(LambdadError):
    """This worker cannot run this runtime; the text says what would make it."""


class RuntimeFamily(Programs, Protocol):
    """Runtimes of one language, or of none (`provided`); and what their processes become, once there is a function."""

    name: str
    """As in the text that says which there are: python."""

    def serves(self, runtime: str) -> bool:
        """Whether the identifier (python3.12) is one of this family's, installed here or not."""

    def pool(self, runtime: str) -> str:
        """Name of the pool whose sandboxes serve the runtime: one for all of them, or one for each."""

    def recipe(self, runtime: str) -> Recipe:
        """How sandboxes of that pool are made. Raises UnsupportedRuntimeError, saying what to install."""

    def installed(self) -> list[str]:
        """Runtimes whose interpreter was found and is of the version that it is named by, oldest first."""

    def variables(self, runtime: str) -> dict[str, str]:
        """Variables that functions of this runtime see besides those of all, unless the function has its own."""

    def execution_environment(self, runtime: str) -> str | None:
        """AWS_EXECUTION_ENV, which no function may set; None for a runtime that has none."""
