"""A worker's place in the cluster: its heartbeat, and the inventory of its environments that Redis can be rebuilt from."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from itertools import islice

import msgspec

from shared.dispatch.cell.cluster_addresses import ClusterAddresses
from shared.dispatch.cell.deployment import Deployment
from shared.dispatch.cell.deployment import decode as decode_deployment
from shared.dispatch.cell.heartbeat import pause, set_after
from shared.dispatch.cell.keys import Keys, check_instance_name, epoch_field
from shared.dispatch.cell.retirement import Retirement
from shared.dispatch.cell.retirement import decode as decode_retirement
from shared.dispatch.cell.scripts import SCRIPTS, script
from shared.dispatch.cell.worker_record import Capabilities, WorkerRecord
from shared.domain.limits import MEMORY_MB_MAX
from shared.redis.connection import RedisConnection, RedisError, Reply
from shared.redis.scripts import Argument
from shared.settings import Settings
from shared.telemetry.supervision import keep_running

log = logging.getLogger("lambdad.dispatch")

REPORT_PART_MAX = 500
"""Environments reported in one script call, which holds Redis up for about 2 ms then."""
MISMATCHES_MAX = 5
"""Heartbeats in a row that Redis may know another number of environments: cold starts on their way make it differ."""
LEAVE_TIMEOUT_S = 2.0
CLOCK_OFF_S_MAX = 3.0
"""Between this host's clock and Redis's, when the worker joins."""


class EnvironmentReport(msgspec.Struct, frozen=True):
    """One environment as its worker sees it. function: as its runs are counted (`VersionSpec.counted_as`).

    busy: it runs an invocation now; then fence is the running lease's (epoch, counter) and holder the instance name of the
    caller (`Hello.instance` of the connection that the INVOKE came on). For an idle one: the last lease's.
    provisioned: "" for one that an invocation started, else "s" while it starts and "r" once it has initialised.
    """

    environment_id: str
    version_key: str
    function: str
    memory_mb: int
    busy: bool
    fence: tuple[int, int]
    holder: str
    provisioned: str = ""


class WorkerMembership:
    """Announces a worker, its free slots and its environments; started once, by the worker's main.

    address: what callers dial (addresses.py). slots: environments that the worker can hold at once. memory_mb: what the memory
    sizes of these may add up to; None where their number alone is the bound. inventory: called on
    the event loop whenever everything has to be reported; it must not block and lists every environment that exists now.
    capabilities: what it can run, as far as it says. on_retired: told which environments run what nobody invokes any more.
    on_deployed: told which versions can be invoked from now on, of those that this worker is to get ready for. before_joining:
    what has to be done, with Redis there, before anything is placed here; may fail, then it is tried again. clock: this host's
    Unix time.
    """

    def __init__(
        self,
        settings: Settings,
        worker_id: str,
        address: str,
        slots: int,
        memory_mb: int | None,
        inventory: Callable[[], list[EnvironmentReport]],
        capabilities: Capabilities | None = None,
        on_retired: Callable[[Retirement], None] = lambda retirement: None,
        on_deployed: Callable[[Deployment], None] = lambda deployment: None,
        before_joining: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings.dispatch
        self._inventory = inventory
        self._on_retired = on_retired
        self._on_deployed = on_deployed
        self._before_joining = before_joining
        self._clock = clock
        self._keys = Keys(settings.dispatch.cell)
        self._beat_now = asyncio.Event()
        self._redis = RedisConnection(
            settings.redis_url,
            name=worker_id,
            connect_timeout_s=settings.dispatch.connect_timeout_s,
            timeout_s=settings.dispatch.redis_timeout_s,
            channel=self._keys.events,
            on_published=self._on_published,
            on_connected=self._on_connected,
            scripts=SCRIPTS.all(),
        )
        self.cluster = ClusterAddresses(self._redis, self._keys)
        self._began = False
        self._draining = False
        self._left = False
        self._epoch = 0
        self._mismatches = 0
        self.worker_id = check_instance_name(worker_id)
        self.address = address
        self.slots = slots
        self.memory_mb = slots * MEMORY_MB_MAX if memory_mb is None else memory_mb
        self.capabilities = capabilities
        self.problem: str | None = "not registered yet"
        """A health check's answer: None, or why nothing is placed here now."""

    @property
    def epoch(self) -> int:
        """The newest epoch this worker has reported under, 0 before the first. An INVOKE of an older epoch is refused with
        STALE_FENCE: its lease is not counted any more."""
        return self._epoch

    async def run(self, stop: asyncio.Event) -> None:
        """Heartbeat until `stop`; survives the loss of Redis and reports everything again when it comes back.

        When it returns, the worker is still registered: drain, then leave."""
        self._redis.start()
        stopping = asyncio.create_task(set_after(stop, self._beat_now), name="membership-stop")
        try:
            await keep_running("worker-membership", lambda: self._beat_until(stop), stop, essential=True)
        finally:
            stopping.cancel()

    async def _beat_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._beat()
            except RedisError as error:
                self.problem = f"redis: {error}"
            await pause(self._beat_now, self._settings.heartbeat_s)

    async def environment_gone(self, environment_id: str) -> None:
        """An environment ended, whatever the reason. Idempotent, bounded, never raises: what Redis does not get to hear
        now, it learns by the next report."""
        keys = self._keys
        gone = script("environment_gone")
        try:
            await self._redis.call(
                gone.command(
                    (keys.state,),
                    *(self.worker_id, environment_id, keys.prefix),
                ),
                gone,
            )
        except RedisError as error:
            log.info("Redis was not told that an environment is gone: %s", error)

    async def drain(self) -> None:
        """No further environment is placed here and idle ones are not leased any more; running ones go on. Never raises."""
        self._draining = True
        self.problem = "draining"
        keys = self._keys
        drain = script("drain_worker")
        try:
            command = drain.command((keys.envs(self.worker_id),), self.worker_id, keys.prefix)
            await self._redis.call(command, drain)
        except RedisError as error:
            log.info("Redis was not told that this worker drains: %s", error)

    async def leave(self) -> None:
        """The worker is about to end: everything of it is forgotten at once. Bounded, never raises."""
        self._left = True
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                await self._forget()
        except (RedisError, TimeoutError) as error:
            log.warning("Redis was not told that this worker leaves; the scheduler will find out: %s", error)
        await self._redis.close()

    def _on_connected(self) -> None:
        self.cluster.connected()
        self._beat_now.set()

    def _on_published(self, message: bytes) -> None:
        self.cluster.heard(message)
        if message.startswith((b"rebuilding ", b"epoch ")):
            self._beat_now.set()
        elif message.startswith(b"retired "):
            try:
                self._on_retired(decode_retirement(message.partition(b" ")[2].decode()))
            except ValueError as error:
                log.warning("not understood, so environments stay until they are idle for long: %r: %s", message, error)
        elif message.startswith(b"deployed "):
            try:
                deployment = decode_deployment(message.partition(b" ")[2])
            except ValueError as error:
                log.warning("not understood, so nothing is made ready for it: %r: %s", message, error)
            else:
                if not self._draining and deployment.is_for(self.worker_id):
                    self._on_deployed(deployment)

    async def _beat(self) -> None:
        if not self._redis.connected:
            self.problem = f"redis: {self._redis.problem}"
            return
        if not self._began:
            # An earlier life under the same name may have left environments that do not exist any more.
            await self._forget()
            if self._before_joining is not None:
                await self._before_joining()
            self._began = True
        keys = self._keys
        beat = script("worker_heartbeat")
        open_epoch, coming, known, environments = await self._redis.call(
            beat.command(
                (keys.state, keys.alive_workers, keys.workers, keys.envs(self.worker_id)),
                *(self._epoch_field(), self.worker_id),
            ),
            beat,
        )
        epoch = int(coming or open_epoch or 0)
        if epoch == 0:
            self.problem = "the leases wait for a scheduler to rebuild them"
            return
        self._mismatches = self._mismatches + 1 if known and environments != len(self._inventory()) else 0
        if not known and (problem := await self._clock_problem()):
            if problem != self.problem:
                log.error("%s", problem)
            self.problem = problem
            return
        if not known or epoch != self._epoch or self._mismatches >= MISMATCHES_MAX:
            await self._report(epoch)
        self.problem = "draining" if self._draining else None

    async def _clock_problem(self) -> str | None:
        """Deadlines, credentials and the order in which environments are used are told by the clocks of several hosts."""
        seconds, microseconds = await self._redis.command("TIME")
        ahead_s = self._clock() - (int(seconds) + int(microseconds) / 1e6)
        if abs(ahead_s) <= CLOCK_OFF_S_MAX:
            return None
        return (
            f"this host's clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} Redis's: set both by a time "
            f"server (chrony, systemd-timesyncd). Nothing is placed here until they agree within {CLOCK_OFF_S_MAX:.0f} s"
        )

    def _epoch_field(self) -> str:
        return epoch_field(self._redis.run_id)

    async def _forget(self) -> None:
        keys = self._keys
        reap = script("reap_worker")
        await self._redis.call(
            reap.command(
                (
                    *(keys.state, keys.alive_workers, keys.workers, keys.envs(self.worker_id)),
                    *(keys.alive_holders, keys.leader),
                ),
                *(self.worker_id, "", keys.prefix),
            ),
            reap,
        )

    async def _report(self, epoch: int) -> None:
        # From here on older leases are refused: what is reported as idle may be leased anew at any moment.
        self._epoch = max(self._epoch, epoch)
        self._mismatches = 0
        inventory = self._inventory()
        if self._draining:
            inventory = [report for report in inventory if report.busy]
        keys = self._keys
        report = script("report")
        slots = 0 if self._draining else self.slots
        record = WorkerRecord(self.address, self.slots, self.capabilities).encode()
        rest = iter(inventory)
        parts = [list(islice(rest, REPORT_PART_MAX)) for _ in range(max(1, -(-len(inventory) // REPORT_PART_MAX)))]
        added = leased = 0
        for number, part in enumerate(parts, 1):
            arguments: list[Argument] = [self._epoch_field(), epoch, self.worker_id, record, slots]
            arguments += [self.memory_mb, keys.prefix, int(number == len(parts)), int(len(parts) == 1)]
            for each in part:
                arguments += [each.environment_id, each.version_key, each.function, each.memory_mb, int(each.busy)]
                arguments += [*each.fence, each.holder, each.provisioned]
            reply: Reply = await self._redis.call(
                report.command((keys.state, keys.alive_workers, keys.workers, keys.envs(self.worker_id), keys.lru), *arguments),
                report,
            )
            if reply[0] < 0:
                log.info("epoch %d ended while this worker reported under it", epoch)
                return
            added, leased = added + reply[0], leased + reply[1]
        log.info("reported %d environments under epoch %d: %d were news, %d run", len(inventory), epoch, added, leased)
