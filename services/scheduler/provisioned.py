"""Provisioned concurrency brought about: again and again, what is there is made into what is wanted.

Nothing is remembered that matters: what is wanted is in the registry, what there is is in Redis, where workers report it again
after a loss. So whichever scheduler leads goes on where the one before it ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

import msgspec
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from services.scheduler.provisioned_plans import Plan, Plans
from services.scheduler.provisioned_starts import Environments, Start
from shared.dispatch.cell.heartbeat import pause
from shared.dispatch.cell.redis_connection import RedisError
from shared.domain.errors import ApiError
from shared.domain.provisioned import AllocationStatus, ProvisionedConcurrency
from shared.telemetry.supervision import keep_running

log = logging.getLogger("lambdad.scheduler")

PROVISIONED = Gauge("lambdad_scheduler_provisioned_environments", "Environments of provisioned concurrency", ["state"])
STARTS_MAX = 16
"""Under way at once, so that a large request leaves workers room for cold starts."""
LOAD_EVERY_S = 10.0
"""Should the word of a change be lost."""
STEP_EVERY_S_MIN = 0.05
RETRY_S_MAX = 60.0
AVOID_S = 1.0


class Failure(msgspec.Struct, frozen=True):
    """The last start of a version failed. generation: of the request that it was for."""

    generation: int
    reason: str
    times: int
    retry_at: float


class Provisioner:
    """`run` is the one loop; `changed` and `wake` make it look again soon."""

    def __init__(self, environments: Environments, plans: Plans) -> None:
        self._environments = environments
        self._source = plans
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._load_at = 0.0
        self._plans: list[Plan] | None = None
        self._starts: dict[str, Start] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._failures: dict[str, Failure] = {}
        self._avoid_until: dict[str, float] = {}

    def changed(self) -> None:
        """The registry has news, perhaps of provisioned concurrency."""
        self._load_at = 0.0
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self, leadership: Callable[[], str], pause_s: float) -> None:
        """Until cancelled. leadership: "" while another scheduler leads, or nothing may be leased."""
        try:
            # A step begins from what is really there, so a mistake in one does not spoil the next.
            await keep_running("provisioned-concurrency", lambda: self._step_for_ever(leadership, pause_s))
        finally:
            self._rest()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._source.close()

    async def _step_for_ever(self, leadership: Callable[[], str], pause_s: float) -> None:
        while True:
            held = leadership()
            try:
                if held:
                    await self.step(held)
                else:
                    self._rest()
            except (ApiError, RedisError, SQLAlchemyError) as error:
                log.warning("provisioned concurrency waits: %s", error)
            await asyncio.sleep(STEP_EVERY_S_MIN)
            await pause(self._wake, pause_s)

    async def step(self, leadership: str) -> None:
        """Look once, and do what can be done at once. Raises ApiError, RedisError, SQLAlchemyError."""
        await self._load()
        if self._plans is None:
            return
        seen = await self._environments.seen()
        plan_of = {share.owner: plan for plan in self._plans for share in plan.shares}
        wanted = dict.fromkeys(plan_of, 0)
        for plan in self._plans:
            for share in plan.shares:
                wanted[share.owner] += share.count
        ready = {owner: sum(state == "r" for state in tokens.values()) for owner, tokens in seen.items()}
        await self._tidy(seen)
        await self._finish_starts(leadership, plan_of, wanted, ready)
        lingering = self._lingering(wanted, ready)
        for owner in list(ready):
            surplus = ready[owner] - wanted.get(owner, 0) - lingering.get(owner, 0)
            if surplus > 0:
                ready[owner] -= len(await self._environments.retire(owner, surplus, leadership))
        for plan in self._plans:
            for share in plan.shares:
                await self._start_missing(leadership, plan, share.owner, wanted[share.owner] - ready.get(share.owner, 0))
        PROVISIONED.labels("wanted").set(sum(wanted.values()))
        PROVISIONED.labels("ready").set(sum(ready.values()))
        await self._report(wanted, ready)

    async def _load(self) -> None:
        now = self._loop.time()
        if now >= self._load_at:
            self._load_at = now + LOAD_EVERY_S
            try:
                self._plans = await self._source.load()
            except BaseException:
                self._load_at = now + 1.0
                raise

    def _lingering(self, wanted: dict[str, int], ready: dict[str, int]) -> dict[str, int]:
        """Environments too many that stay while others, of the same configuration, are still missing: an alias that moves or
        changes its weights keeps what it has until it has what it needs."""
        lingering: dict[str, int] = {}
        for plan in self._plans or ():
            missing = sum(max(0, wanted[share.owner] - ready.get(share.owner, 0)) for share in plan.shares)
            for owner in (*(share.owner for share in plan.shares), plan.held_owner):
                if owner is not None and missing > 0:
                    stays = min(missing, max(0, ready.get(owner, 0) - wanted.get(owner, 0)))
                    lingering[owner] = max(stays, lingering.get(owner, 0))
                    missing -= stays
        return lingering

    async def _finish_starts(
        self, leadership: str, plan_of: dict[str, Plan], wanted: dict[str, int], ready: dict[str, int]
    ) -> None:
        for token, start in list(self._starts.items()):
            if start.task is None or not start.task.done():
                continue
            del self._starts[token]
            if start.task.cancelled():
                continue
            outcome, owner = start.task.result(), start.owner
            if outcome.avoid:
                self._avoid_until[start.lease.worker_id] = self._loop.time() + AVOID_S
            plan = plan_of.get(owner)
            if plan is not None and outcome.failure:
                self._failed(owner, plan.configuration.generation, outcome.failure)
            if not outcome.prepared:
                continue
            self._failures.pop(owner, None)
            if plan is None or ready.get(owner, 0) >= wanted[owner]:
                await self._environments.forget([token])
                await self._environments.stop([token])
                continue
            # The one that it replaces goes first: together they could be more than the function's concurrency.
            for lingers, count in self._lingering(wanted, ready).items():
                if count > 0 and lingers in {plan.held_owner, *(share.owner for share in plan.shares)}:
                    ready[lingers] -= len(await self._environments.retire(lingers, 1, leadership))
                    break
            if await self._environments.ready(start, leadership):
                ready[owner] = ready.get(owner, 0) + 1

    def _failed(self, owner: str, generation: int, reason: str) -> None:
        before = self._failures.get(owner)
        times = 1 if before is None or before.generation != generation else before.times + 1
        retry_at = self._loop.time() + min(RETRY_S_MAX, math.ldexp(1.0, min(times - 1, 10)))
        self._failures[owner] = Failure(generation, reason, times, retry_at)

    async def _tidy(self, seen: dict[str, dict[str, str]]) -> None:
        """What an earlier leader began to start, and what was told to end and may not have heard it."""
        lost, ending = [], []
        for tokens in seen.values():
            for token, state in tokens.items():
                if state == "s" and token not in self._starts:
                    lost.append(token)
                elif state == "x":
                    ending.append(token)
        await self._environments.forget(lost)
        await self._environments.stop(lost + ending)

    async def _start_missing(self, leadership: str, plan: Plan, owner: str, missing: int) -> None:
        under_way = sum(start.owner == owner for start in self._starts.values())
        now = self._loop.time()
        failure = self._failures.get(owner)
        if failure is not None and failure.generation != plan.configuration.generation:
            del self._failures[owner]
        elif failure is not None:
            # Whether it works by now is tried with one.
            missing = min(missing, 1) if now >= failure.retry_at else 0
        self._avoid_until = {worker: until for worker, until in self._avoid_until.items() if until > now}
        avoid = "".join(f",{worker}" for worker in self._avoid_until) + "," if self._avoid_until else ""
        target = next(share.target for share in plan.shares if share.owner == owner)
        while missing > under_way and len(self._starts) < STARTS_MAX:
            start = await self._environments.place(owner, target, leadership, avoid)
            if start is None:
                return
            under_way += 1
            self._starts[start.token] = start
            start.task = asyncio.create_task(self._environments.start(start), name=f"provision-{start.token}")
            self._tasks.add(start.task)
            start.task.add_done_callback(self._started)

    def _started(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        self._wake.set()

    async def _report(self, wanted: dict[str, int], ready: dict[str, int]) -> None:
        owners = {share.owner for plan in self._plans or () for share in plan.shares}
        self._failures = {owner: failure for owner, failure in self._failures.items() if owner in owners}
        for number, plan in enumerate(self._plans or ()):
            found = self._status(plan, wanted, ready)
            if found != plan.configuration:
                if await self._source.report(found):
                    assert self._plans is not None
                    self._plans[number] = msgspec.structs.replace(plan, configuration=found)
                else:
                    self.changed()

    def _status(self, plan: Plan, wanted: dict[str, int], ready: dict[str, int]) -> ProvisionedConcurrency:
        configuration = plan.configuration
        here = [min(share.count, ready.get(share.owner, 0)) for share in plan.shares]
        allocated = sum(here)
        if allocated == configuration.requested:
            return msgspec.structs.replace(
                configuration,
                allocated=allocated,
                status=AllocationStatus.READY,
                status_reason="",
                held_version=plan.version,
            )
        if plan.held_owner is not None:
            allocated += max(0, ready.get(plan.held_owner, 0) - wanted.get(plan.held_owner, 0))
        failures = [self._failures[share.owner] for share in plan.shares if share.owner in self._failures]
        return msgspec.structs.replace(
            configuration,
            allocated=min(allocated, configuration.requested),
            status=AllocationStatus.FAILED if failures else AllocationStatus.IN_PROGRESS,
            status_reason=failures[0].reason if failures else "",
        )

    def _rest(self) -> None:
        """Another scheduler leads: what was begun here is given up."""
        self._plans = None
        self._load_at = 0.0
        for start in self._starts.values():
            if start.task is not None:
                start.task.cancel()
        self._starts.clear()
