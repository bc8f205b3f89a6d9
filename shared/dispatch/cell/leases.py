"""Leases: the right to run one invocation at a time on one execution environment, counted in Redis.

Each lease is known by the name that acquire.lua gave it, and is given back exactly once: a release that could not be
delivered is kept and repeated until Redis has it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import msgspec

from shared.dispatch.cell.keys import Keys, epoch_field
from shared.dispatch.cell.scripts import script
from shared.dispatch.wire.connection import GONE, IDLE, UNCERTAIN, WorkerConnection
from shared.domain.functions import InvokeTarget
from shared.redis.connection import RedisConnection, RedisError, Reply
from shared.redis.scripts import bulk

log = logging.getLogger("lambdad.dispatch")

AUDITS_AFTER_LOSS = 2
"""What was written to a connection that broke may still be executed a moment later, so one look is not enough."""

BATCH_MAX = 100
"""Leases in one script call, which holds Redis up for well under a millisecond then."""

_DONE = asyncio.Future.done
_RESERVED, _ACCOUNT, _PROVISIONED = "r", "u", "p"
STARTS_AHEAD = "s"
"""The pool of what the scheduler holds of an environment while it starts it for provisioned concurrency: nothing runs there."""
_NO_WORKER_AVOIDED = bulk("")


class Version:
    """One version of one function at one registry revision, as its leases see it: its commands, packed once, and the idle
    leases that this holder keeps. closed: leases of it are given back after use instead of kept."""

    __slots__ = (
        "acquire_prefix",
        "closed",
        "collected",
        "function",
        "idle",
        "memory_mb",
        "owner",
        "release_prefixes",
        "returned",
        "revision",
        "version_key",
        "wanted",
    )

    def __init__(self, target: InvokeTarget, keys: Keys, holder: str, account_concurrency: int) -> None:
        spec = target.spec
        function, version = spec.counted_as, spec.version_key
        if "\n" in function or "\n" in version or not version:
            raise ValueError(f"not a version key: {version!r} of {function!r}")
        self.version_key = version
        self.memory_mb = spec.memory_mb
        self.function = function
        self.revision = target.revision
        self.idle: list[Lease] = []
        self.closed = False
        # What was asked for and given back since commands were last written; False: nothing.
        self.collected = False
        self.wanted: list[asyncio.Future[Answer]] = []
        self.returned: dict[str, list[Lease]] = {_ACCOUNT: [], _RESERVED: [], _PROVISIONED: []}
        account, reserved = keys.leases(holder, _ACCOUNT), keys.leases(holder, _RESERVED)
        provisioned = keys.leases(holder, _PROVISIONED)
        idle, ready = keys.idle(version), keys.ready(version)
        owner = self.owner = f"{function}\n{version}"
        self.acquire_prefix = script("acquire").prefix(
            (keys.state, idle, account, reserved, keys.lru),
            14,
            *(f"rev:{function}", f"res:{function}", f"run:{function}"),
            target.revision,
            "" if target.reserved_concurrency is None else target.reserved_concurrency,
            account_concurrency,
            owner,
            keys.prefix,
            f"prov:{version}",
            self.memory_mb,
        )
        self.release_prefixes = {
            pool: script("release").tail((keys.state, where, mine, other), f"run:{function}", owner, keys.prefix, pool)
            for pool, where, mine, other in (
                (_ACCOUNT, idle, account, reserved),
                (_RESERVED, idle, reserved, account),
                (_PROVISIONED, ready, provisioned, provisioned),
            )
        }


class Lease:
    """victims: environments that the worker has to stop first. sticky: may be kept for a while after use.
    keep_until: loop time after which it goes back even if busy all the time. connection: to its worker, once known."""

    __slots__ = (
        "cold",
        "connection",
        "environment_id",
        "epoch",
        "fence",
        "idle_since",
        "keep_until",
        "name",
        "pool",
        "sticky",
        "version",
        "victims",
        "worker_id",
    )

    def __init__(self, version: Version, name: bytes, pool: str, cold: bool, sticky: bool, victims: str) -> None:
        token, _, fences = name.decode().rpartition("#")
        self.environment_id, _, self.worker_id = token.partition("@")
        epoch, _, fence = fences.partition(".")
        self.epoch, self.fence = int(epoch), int(fence)
        self.name = name
        self.version = version
        self.pool = pool
        self.cold = cold
        self.sticky = sticky
        self.victims = tuple(victims.split(",")) if victims else ()
        self.keep_until = 0.0
        self.idle_since = 0.0
        self.connection: WorkerConnection[Lease] | None = None

    @property
    def token(self) -> str:
        return f"{self.environment_id}@{self.worker_id}"


class Throttled(msgspec.Struct, frozen=True):
    """reserved: by the function's own limit, else by the account's. retry: unused leases were just asked back."""

    reserved: bool
    retry: bool


class Stale(msgspec.Struct, frozen=True):
    revision: int


class NoCapacity(msgspec.Struct, frozen=True):
    pass


class Rebuilding(msgspec.Struct, frozen=True):
    pass


Answer = Lease | Throttled | Stale | NoCapacity | Rebuilding


def now_ms() -> int:
    return int(time.time() * 1000)


def _denial(reply: list[Any]) -> Answer:
    kind = reply[0]
    if kind == b"t":
        return Throttled(reply[1] == b"r", reply[2] == 1)
    if kind == b"s":
        return Stale(int(reply[1]))
    return NoCapacity() if kind == b"n" else Rebuilding()


class Leases:
    """The leases of one holder. Everything is sent at once and answered through futures or not at all; nothing here waits."""

    def __init__(self, redis: RedisConnection, keys: Keys, holder: str, *, account_concurrency: int) -> None:
        self._redis = redis
        self._keys = keys
        self._account_concurrency = account_concurrency
        self._acquire = script("acquire")
        self._release = script("release")
        self._loop = asyncio.get_running_loop()
        self._collected: list[Version] = []
        self._epoch_of_run, self._epoch_packed = "", bulk(epoch_field(""))
        self._unreleased: dict[bytes, tuple[Lease, bytes]] = {}
        self._live: set[bytes] = set()
        self.holder = holder
        self.audits_due = 0

    def version(self, target: InvokeTarget) -> Version:
        return Version(target, self._keys, self.holder, self._account_concurrency)

    @property
    def unsettled(self) -> int:
        """Leases that are held or whose release Redis has not confirmed."""
        return len(self._live)

    def acquire(self, version: Version, avoid: str = "") -> asyncio.Future[Answer]:
        """Ask for a lease. avoid: "" or ",worker,worker,". The future raises RedisError; a lease that arrives after it was
        cancelled is given back. What is asked for in one turn of the loop is asked for in one script call."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        if avoid:
            self._ask(version, [future], avoid)
        else:
            version.wanted.append(future)
            self._collect_soon(version)
        return future

    def release(self, lease: Lease, outcome: bytes) -> None:
        """Give a lease back; returns at once, and is repeated until Redis confirms it."""
        if outcome is IDLE:
            lease.version.returned[lease.pool].append(lease)
            self._collect_soon(lease.version)
        else:
            self._return([lease], outcome)

    def _collect_soon(self, version: Version) -> None:
        if version.collected:
            return
        version.collected = True
        if not self._collected:
            self._redis.defer(self._collect)
        self._collected.append(version)

    def _collect(self) -> None:
        """Put together what was given back and what was asked for in this turn; the one may serve the other."""
        collected, self._collected = self._collected, []
        for version in collected:
            version.collected = False
            for pool, leases in version.returned.items():
                if leases:
                    version.returned[pool] = []
                    for start in range(0, len(leases), BATCH_MAX):
                        self._return(leases[start : start + BATCH_MAX], IDLE)
            wanted, version.wanted = version.wanted, []
            if any(map(_DONE, wanted)):
                wanted = [future for future in wanted if not future.done()]
            for start in range(0, len(wanted), BATCH_MAX):
                self._ask(version, wanted[start : start + BATCH_MAX], "")

    def _ask(self, version: Version, wanted: list[asyncio.Future[Answer]], avoid: str) -> None:
        def on_reply(reply: Reply) -> None:
            if isinstance(reply, Exception):
                # It may have been executed: leases may exist that nobody knows of.
                self.audits_due = AUDITS_AFTER_LOSS
                for future in wanted:
                    if not future.done():
                        future.set_exception(reply)
            elif reply[0] == b"g":
                self._granted(version, wanted, reply, avoid)
            else:
                answer = _denial(reply)
                for future in wanted:
                    if not future.done():
                        future.set_result(answer)

        count = b"%d" % len(wanted)
        command = b"%b%b%b$13\r\n%d\r\n$%d\r\n%b\r\n" % (
            version.acquire_prefix,
            self._epoch_field(),
            bulk(avoid) if avoid else _NO_WORKER_AVOIDED,
            now_ms(),
            len(count),
            count,
        )
        try:
            self._redis.send(command, on_reply, self._acquire)
        except RedisError as error:
            for future in wanted:
                future.set_exception(error)

    def _granted(self, version: Version, wanted: list[asyncio.Future[Answer]], reply: list[Any], avoid: str) -> None:
        pool, sticky = reply[1].decode(), reply[2] == 1
        waiting = iter(wanted)
        for i in range(3, len(reply), 2):
            name, kind = reply[i], reply[i + 1]
            if kind == b"p":
                # Never kept: while one holder keeps it unused, another's invocation would start an environment on demand.
                lease = Lease(version, name, _PROVISIONED, False, False, "")
            else:
                lease = Lease(version, name, pool, kind != b"w", sticky, kind[1:].decode())
            self._live.add(name)
            for future in waiting:
                if not future.done():
                    future.set_result(lease)
                    break
            else:
                self.release(lease, GONE if lease.cold else IDLE)
        for future in waiting:
            # There were fewer than wanted: why, is answered to whoever asks again.
            if not future.done():
                if avoid:
                    self._ask(version, [future], avoid)
                else:
                    version.wanted.append(future)
                    self._collect_soon(version)

    def _return(self, leases: list[Lease], outcome: bytes) -> None:
        def on_reply(reply: Reply) -> None:
            if isinstance(reply, Exception):
                self._keep_unreleased(leases, outcome)
            else:
                for lease in leases:
                    self._live.discard(lease.name)

        first = leases[0]
        command = b"%b%b$1\r\n%b\r\n$13\r\n%d\r\n%b" % (
            self._release.head(4, 6 + len(leases)),
            first.version.release_prefixes[first.pool],
            outcome,
            now_ms(),
            b"".join([b"$%d\r\n%b\r\n" % (len(lease.name), lease.name) for lease in leases]),
        )
        try:
            self._redis.send(command, on_reply, self._release)
        except RedisError:
            self._keep_unreleased(leases, outcome)

    def _keep_unreleased(self, leases: list[Lease], outcome: bytes) -> None:
        for lease in leases:
            self._unreleased[lease.name] = (lease, outcome)

    def _epoch_field(self) -> bytes:
        run_id = self._redis.run_id
        if run_id != self._epoch_of_run:
            self._epoch_of_run, self._epoch_packed = run_id, bulk(epoch_field(run_id))
        return self._epoch_packed

    def repeat_releases(self) -> None:
        """Send again what could not be delivered."""
        waiting, self._unreleased = self._unreleased, {}
        for lease, outcome in waiting.values():
            self.release(lease, outcome)

    async def audit(self) -> int:
        """Give back leases that Redis counts for this holder but that no caller ever got (a reply that was lost). Replies
        come in order, so what is listed and unknown is not on its way. Returns how many. Raises RedisError."""
        self.audits_due = max(0, self.audits_due - 1)
        returned = 0
        for pool in (_ACCOUNT, _RESERVED, _PROVISIONED):
            found = await self._redis.command("HGETALL", self._keys.leases(self.holder, pool))
            for name, owner in found.items():
                if name not in self._live:
                    await self._return_unknown(name, owner.decode(), pool)
                    returned += 1
        return returned

    async def _return_unknown(self, name: bytes, owner: str, pool: str) -> None:
        function, _, version = owner.partition("\n")
        keys = self._keys
        other = {_ACCOUNT: _RESERVED, _RESERVED: _ACCOUNT}.get(pool, pool)
        where = keys.ready(version) if pool == _PROVISIONED else keys.idle(version)
        command = self._release.command(
            (keys.state, where, keys.leases(self.holder, pool), keys.leases(self.holder, other)),
            *(f"run:{function}", owner, keys.prefix, pool, UNCERTAIN, now_ms(), name),
        )
        await self._redis.call(command, self._release)
        log.warning("a lease whose grant was never heard of was given back: %s", name.decode())
