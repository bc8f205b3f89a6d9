"""What Redis knows of a worker, in the hash `workers`: how it is reached, how much it holds, what it can run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.domain.runtimes import how_to_install


class Capabilities(msgspec.Struct, frozen=True):
    """What a worker can run. architecture: as functions name it, x86_64 or arm64. runtimes: identifiers (python3.12)."""

    architecture: str
    runtimes: tuple[str, ...]

    def runs(self, runtime: str, architecture: str) -> bool:
        return architecture == self.architecture and runtime in self.runtimes


class WorkerRecord(msgspec.Struct, frozen=True):
    """capabilities: None of a worker that does not say."""

    address: str
    slots: int
    capabilities: Capabilities | None = None

    def encode(self) -> str:
        """`<host:port> <slots>[ <architecture> <runtime>,<runtime>]`"""
        fields = [self.address, str(self.slots)]
        if self.capabilities is not None:
            fields += [self.capabilities.architecture, ",".join(self.capabilities.runtimes)]
        return " ".join(fields)


def decode(encoded: bytes) -> WorkerRecord:
    """Raises ValueError."""
    address, slots, *rest = encoded.decode().split(" ")
    if len(rest) != 2:
        return WorkerRecord(address, int(slots))
    return WorkerRecord(address, int(slots), Capabilities(rest[0], tuple(filter(None, rest[1].split(",")))))


def why_none_runs(known: Sequence[Capabilities], runtime: str, architecture: str) -> str:
    """Why none of these workers can run it, and what the operator does about it; "" when one can."""
    if any(each.runs(runtime, architecture) for each in known):
        return ""
    architectures = sorted({each.architecture for each in known})
    if architectures and architecture not in architectures:
        return (
            f"No worker of this cluster has the architecture {architecture}: choose {' or '.join(architectures)}, or run "
            f"`lambdad serve worker` on a machine that has it."
        )
    where = f" for {architecture}" if len(architectures) > 1 else ""
    return f"No worker of this cluster has the runtime {runtime}{where}. {how_to_install(runtime)}"
