"""Leases kept for a moment after use, so that a busy function needs no Redis call for every invocation.

A kept lease counts as used all the while. It goes back after `sticky_ms` without use, after a second of use, and at once
when somebody else needs room, the function changed, or this holder is not sure to be alive in Redis's eyes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.dispatch.cell.leases import Lease, Version
from shared.dispatch.wire.connection import IDLE, UNCERTAIN, WorkerConnection

KEPT_S_MAX = 1.0
VERSIONS_MAX = 20_000


class StickyLeases:
    """Kept leases by version, newest first. release: gives a lease back to Redis with what became of its environment."""

    def __init__(self, sticky_ms: int, release: Callable[[Lease, bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._sticky_s = sticky_ms / 1000
        self._release = release
        self._sweeping = False
        self._keeping: set[Version] = set()
        self.versions: dict[str, Version] = {}
        self.valid_until = 0.0
        """Loop time until which Redis cannot have taken this holder for dead."""

    def open(self, version: Version) -> Version:
        """Take a version in, closing the one it replaces."""
        older = self.versions.pop(version.version_key, None)
        if older is not None:
            self.close(older)
        elif len(self.versions) >= VERSIONS_MAX:
            self.close(self.versions.pop(next(iter(self.versions))))
        self.versions[version.version_key] = version
        return version

    def take(self, version: Version) -> Lease | None:
        """The newest kept lease of a version."""
        if version.idle and self._loop.time() < self.valid_until:
            return version.idle.pop()
        return None

    def give_back(self, lease: Lease, outcome: bytes) -> None:
        """An invocation ended: keep its lease or return it."""
        if outcome is IDLE and lease.sticky:
            connection, now = lease.connection, self._loop.time()
            if lease.keep_until > now and not lease.version.closed and connection is not None and not connection.closed:
                lease.cold = False
                lease.victims = ()
                lease.idle_since = now
                lease.version.idle.append(lease)
                self._keeping.add(lease.version)
                if not self._sweeping:
                    self._sweeping = True
                    self._loop.call_later(self._sticky_s, self._sweep)
                return
        self._release(lease, outcome)

    def granted(self, lease: Lease) -> None:
        """A lease came from Redis just now."""
        if lease.sticky:
            lease.sticky = self._sticky_s > 0
            lease.keep_until = self._loop.time() + KEPT_S_MAX

    def close(self, version: Version) -> None:
        """Return what is kept of a version now, and what is in use when it ends."""
        version.closed = True
        idle, version.idle = version.idle, []
        for lease in idle:
            self._release(lease, IDLE)

    def recall(self) -> None:
        """Return everything."""
        versions, self.versions = self.versions, {}
        for version in versions.values():
            self.close(version)

    def changed(self, function: str, revision: int) -> None:
        """A function has a new revision: its older leases must not be used again without asking Redis."""
        for key in [key for key, v in self.versions.items() if v.function == function and v.revision < revision]:
            self.close(self.versions.pop(key))

    def lost(self, connection: WorkerConnection[Lease]) -> None:
        """A worker's connection ended: its kept leases cannot be used."""
        for version in self._keeping:
            gone = [lease for lease in version.idle if lease.connection is connection]
            version.idle = [lease for lease in version.idle if lease.connection is not connection]
            for lease in gone:
                self._release(lease, UNCERTAIN)

    def _sweep(self) -> None:
        now = self._loop.time()
        oldest_allowed = now - self._sticky_s
        for version in list(self._keeping):
            idle = version.idle
            # The newest are used first, so the oldest are at the front.
            expired = 0
            while expired < len(idle) and idle[expired].idle_since <= oldest_allowed:
                expired += 1
            if expired:
                for lease in idle[:expired]:
                    self._release(lease, IDLE)
                del idle[:expired]
            if not idle:
                self._keeping.discard(version)
        self._sweeping = bool(self._keeping)
        if self._sweeping:
            self._loop.call_later(self._sticky_s / 2, self._sweep)
