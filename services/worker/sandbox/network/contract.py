"""The contract between sandboxes and the network that they are in. A network is given by a provider, as slots.

A worker has one provider, which its settings choose (from_settings.py). kept.py's: `public`, which leads outside by the host,
as functions on AWS have it that are in no VPC, and to the cluster's endpoint; or `none`, nothing but loopback. own.py's,
without root: loopback alone. A sandbox takes its slot when it is made, which is before anybody knows for which function: what
one function may be given is what the provider gives to all, or less (`cut`).

So networks by function (VpcConfig) have a place here and are not there: ARCHITECTURE.md says what they need beside a provider.

A slot is one sandbox's at a time: taken, entered by its init, then given back once no process is left in it, or lost when that
is not sure. A provider makes nothing on the way of a cold start: it has slots ready.
"""

from __future__ import annotations

from typing import Protocol


class NetworkSlot(Protocol):
    """lost: it leads nowhere any more, for its provider has failed."""

    lost: bool

    def descriptor(self) -> int:
        """Of its namespace, for the one who enters; stays the slot's."""

    def entered(self) -> None:
        """Some process is in it, which keeps it."""

    async def cut(self) -> None:
        """Leave its sandbox nothing but loopback. Raises SandboxError; then the sandbox must not run."""

    def give_back(self) -> None:
        """No process is left in it."""

    def lose(self) -> None:
        """Something may still run in it: nobody else gets it."""


class NetworkProvider(Protocol):
    async def start(self) -> None:
        """Raises ConfigurationError where functions cannot be kept apart. A network that leads less far than was wanted is
        told (`weaker`), and is no error."""

    async def take(self) -> NetworkSlot:
        """Raises SandboxError."""

    @property
    def weaker(self) -> str | None:
        """What functions reach where that is less than was wanted, and why: for people."""

    async def close(self) -> None: ...
