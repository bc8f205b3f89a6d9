"""A worker's place in the cluster: its heartbeat, and the inventory of its environments that Redis can be rebuilt from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from shared.settings import Settings


class EnvironmentReport(msgspec.Struct, frozen=True):
    """One environment as its worker sees it.

    busy: it runs an invocation now; then fence is the running lease's (epoch, counter) and holder the instance name of the
    caller (`Hello.instance` of the connection that the INVOKE came on). For an idle one: the last lease's.
    """

    environment_id: str
    version_key: str
    function_id: str
    busy: bool
    fence: tuple[int, int]
    holder: str


class WorkerMembership:
    """Announces a worker, its free slots and its environments; started once, by the worker's main.

    address: "host:port" of the dispatch port. slots: environments that the worker can hold at once. inventory: called on
    the event loop whenever everything has to be reported; it must not block and lists every environment that exists now.
    """

    def __init__(
        self,
        settings: Settings,
        worker_id: str,
        address: str,
        slots: int,
        inventory: Callable[[], list[EnvironmentReport]],
    ) -> None:
        self._settings = settings
        self._inventory = inventory
        self.worker_id = worker_id
        self.address = address
        self.slots = slots

    @property
    def epoch(self) -> int:
        """The newest epoch this worker has reported under, 0 before the first. An INVOKE of an older epoch is refused with
        STALE_FENCE: its lease is not counted any more."""
        return 0

    async def run(self, stop: asyncio.Event) -> None:
        """Heartbeat until `stop`; survives the loss of Redis and reports everything again when it comes back."""
        raise NotImplementedError

    async def environment_gone(self, environment_id: str) -> None:
        """An environment ended by itself (crash, failed start, eviction done by the worker). Idempotent, bounded, never raises."""
        raise NotImplementedError

    async def drain(self) -> None:
        """No further environment is placed here and idle ones are not leased any more; running ones go on."""
        raise NotImplementedError

    async def leave(self) -> None:
        """The worker is about to end: everything of it is forgotten at once."""
        raise NotImplementedError
