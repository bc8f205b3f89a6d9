"""What the worker asks of a family of runtimes. Each has a folder here; only what is in it knows the family.

A family looks for what it needs on the host when it is made, and keeps what it found: who installs an interpreter restarts the
worker. It is asked on the worker's event loop and must not wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.worker.sandbox.spec import SandboxSpec
from shared.domain.errors import LambdadError


class UnsupportedRuntimeError(LambdadError):
    """This worker cannot run this runtime; the text says what would make it."""


class RuntimeFamily(Protocol):
    """Runtimes of one language, or of none (`provided`)."""

    name: str
    """As in the text that says which there are: python."""

    def serves(self, runtime: str) -> bool:
        """Whether the identifier (python3.12) is one of this family's, installed here or not."""

    def pool(self, runtime: str) -> str:
        """Name of the pool whose sandboxes serve the runtime: one for all of them, or one for each."""

    def recipe(self, runtime: str) -> Recipe:
        """How sandboxes of that pool are made. Raises UnsupportedRuntimeError, saying what to install."""

    def installed(self) -> list[str]:
        """Runtimes whose interpreter was found, oldest first; none for a family that has no interpreter for each."""

    def variables(self, runtime: str) -> dict[str, str]:
        """Variables that functions of this runtime see besides those of all, unless the function has its own."""

    def execution_environment(self, runtime: str) -> str | None:
        """AWS_EXECUTION_ENV, which no function may set; None for a runtime that has none."""

    def programs(self, recipe: Recipe, spec: SandboxSpec) -> list[list[str]]:
        """Command lines of which the first that can be executed becomes the function's runtime process; empty when the
        process that was prepared serves."""

    def missing_entrypoint(self, spec: SandboxSpec) -> tuple[str, str] | None:
        """(type, text) of the platform's error when the package lacks what the runtime would start; None when it does not,
        or when the runtime itself says so."""


@dataclass(frozen=True)
class Recipe:
    """How the sandboxes of one pool are made.

    pool: its name. interpreter: the Python that the zygote is. prefixes: host folders beyond /usr that sandboxes see.
    inside: folder of Python modules that the zygote loads, with `runtime.py`, for runtimes that a fork of it serves.
    runtime_dir: becomes /var/runtime. language_root: what /var/lang leads to. kind and argv: see sandbox/protocol.py.
    http: the runtime process speaks the Runtime API.
    """

    family: RuntimeFamily
    pool: str
    interpreter: Path
    prefixes: tuple[Path, ...]
    kind: str
    inside: Path | None = None
    runtime_dir: Path | None = None
    language_root: Path | None = None
    argv: tuple[str, ...] = ()
    http: bool = False
