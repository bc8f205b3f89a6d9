"""How sandboxes are made that serve the same runtimes; given by the runtimes' family (services/worker/runtimes/)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.worker.sandbox.spec import SandboxSpec


class Programs(Protocol):
    """What a function's runtime process becomes."""

    def programs(self, recipe: Recipe, spec: SandboxSpec) -> list[list[str]]:
        """Command lines of which the first that can be executed becomes the function's runtime process; empty when the
        process that was prepared serves."""

    def missing_entrypoint(self, spec: SandboxSpec) -> tuple[str, str] | None:
        """(type, text) of the platform's error when the package lacks what the runtime would start; None when it does not,
        or when the runtime itself says so."""


@dataclass(frozen=True)
class Recipe:
    """pool: name of those that are made alike. interpreter: the Python that the zygote is. prefixes: host folders beyond /usr
    that it needs. inside: folder of Python modules that the zygote loads, with `runtime.py`, for runtimes that a fork of
    it serves. runtime_dirs: are /var/runtime together, files of the first before those of others. language_root: is
    /var/lang. links: symbolic links of the root, and where they lead. kind and argv: see protocol.py. http: the runtime
    process speaks the Runtime API."""

    family: Programs
    pool: str
    interpreter: Path
    prefixes: tuple[Path, ...]
    kind: str
    inside: Path | None = None
    runtime_dirs: tuple[Path, ...] = ()
    language_root: Path | None = None
    links: tuple[tuple[str, str], ...] = ()
    argv: tuple[str, ...] = ()
    http: bool = False
