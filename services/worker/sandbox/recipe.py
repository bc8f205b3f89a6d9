"""How sandboxes are made that serve the same runtimes; given by the runtimes' family (services/worker/runtimes/)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
class Archive:
    """What programs start faster with: see zygote/archive.py. name: of the file that is kept, another for
    whatever it is made of. place: where sandboxes see it. commands: what makes it, one after the other."""

    name: str
    place: str
    commands: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Recipe:
    """pool: name of those that are made alike. interpreter: the Python that the zygote is. prefixes: host folders beyond /usr
    that it needs. inside: folder of Python modules that the zygote loads, with `runtime.py`, for runtimes that a fork of
    it serves. runtime_dirs: are /var/runtime together, files of the first before those of others. language_root: is
    /var/lang. links: symbolic links of the root, and where they lead. kind and argv: see protocol.py. http: the runtime
    process speaks the Runtime API. argv_by_memory: argv for functions of so many MB, of programs that are told when they start:
    one that was prepared serves those alone. variables: that programs which are executed early have from the start, besides
    those of all. settings: names in the host's /etc that sandboxes see, too. logs_late: it writes an error to the log after it
    has posted it. waiting_bytes:
    what one that waits for its function takes of the host's memory, generously."""

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
    variables: tuple[tuple[str, str], ...] = ()
    settings: tuple[str, ...] = ()
    archive: Archive | None = None
    waiting_bytes: int = 3 * 1024**2
    logs_late: bool = False
    argv_by_memory: Callable[[int], tuple[str, ...]] | None = None

    def for_memory(self, memory_mb: int) -> Recipe:
        """Of the sandboxes that serve functions of this size, in a pool of their own where the size matters."""
        if self.argv_by_memory is None:
            return self
        return replace(self, pool=f"{self.pool}-{memory_mb}", argv=self.argv_by_memory(memory_mb), argv_by_memory=None)
