"""Provisioned concurrency brought about: again and again, what is there is made into what is wanted.

Nothing is remembered that matters: what is wanted is in the registry, what there is is in Redis, where workers report it again
after a loss. So whichever scheduler leads goes on where the one before it ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid

import msgspec
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from services.scheduler.provisioned.plans import Plan, Plans, Share
from services.scheduler.provisioned.starts import Environments
from shared.dispatch.cell.heartbeat import pause
from shared.dispatch.client.run import Run
from shared.domain.errors import ApiError, CannotRunError, StartFailedError
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.provisioned import INIT_FAILURE, AllocationStatus, ProvisionedConcurrency
from shared.redis.connection import RedisError
from shared.telemetry.supervision import keep_running

log = logging.getLogger("lambdad.scheduler")

PROVISIONED = Gauge("lambdad_scheduler_provisioned_environments", "Environments of provisioned concurrency", ["state"])
STARTS_MAX = 16
"""Under way at once, so that a large request leaves workers room for cold starts."""
LOAD_EVERY_S = 10.0
"""Should the word of a change be lost."""
STEP_EVERY_S_MIN = 0.05
RETRY_S_MAX = 60.0
PAUSE_S = 1.0
"""Nothing is started for this long after a start that found no place, or was lost."""


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
        self._starts: dict[Run, str] = {}
        self._start_at = 0.0
        self._failures: dict[str, Failure] = {}

    def changed(self) -> None:
        """The registry has news, perhaps of provisioned concurrency."""
        self._load_at = 0.0
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self, pause_s: float) -> None:
        """Until cancelled."""
        try:
            # A step begins from what is really there, so a mistake in one does not spoil the next.
            await keep_running("provisioned-concurrency", lambda: self._step_for_ever(pause_s))
        finally:
            self._rest()
            await self._source.close()

    async def _step_for_ever(self, pause_s: float) -> None:
        while True:
            try:
                if self._environments.leadership():
                    await self.step()
                else:
                    self._rest()
            except (ApiError, RedisError, SQLAlchemyError) as error:
                log.warning("provisioned concurrency waits: %s", error)
            await asyncio.sleep(STEP_EVERY_S_MIN)
            await pause(self._wake, pause_s)

    async def step(self) -> None:
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
        await self._environments.tidy(seen)
        await self._take_in(plan_of, wanted, ready)
        lingering = self._lingering(wanted, ready)
        for owner in list(ready):
            surplus = ready[owner] - wanted.get(owner, 0) - lingering.get(owner, 0)
            if surplus > 0:
                ready[owner] -= len(await self._environments.retire(owner, surplus))
        for plan in self._plans:
            for share in plan.shares:
                self._start_missing(plan, share, wanted[share.owner] - ready.get(share.owner, 0))
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

    async def _take_in(self, plan_of: dict[str, Plan], wanted: dict[str, int], ready: dict[str, int]) -> None:
        """What has initialised is leased from now on, where it is still wanted."""
        while self._environments.initialised:
            lease = self._environments.initialised.pop()
            owner = lease.version.owner
            self._failures.pop(owner, None)
            plan = plan_of.get(owner)
            if plan is None or ready.get(owner, 0) >= wanted[owner]:
                await self._environments.discard(lease)
                continue
            # The one that it replaces goes first: together they could be more than the function's concurrency.
            for lingers, count in self._lingering(wanted, ready).items():
                if count > 0 and lingers in {plan.held_owner, *(share.owner for share in plan.shares)}:
                    ready[lingers] -= len(await self._environments.retire(lingers, 1))
                    break
            if await self._environments.ready(lease):
                ready[owner] = ready.get(owner, 0) + 1

    def _failed(self, owner: str, generation: int, reason: str) -> None:
        before = self._failures.get(owner)
        times = 1 if before is None or before.generation != generation else before.times + 1
        retry_at = self._loop.time() + min(RETRY_S_MAX, math.ldexp(1.0, min(times - 1, 10)))
        self._failures[owner] = Failure(generation, reason, times, retry_at)

    def _start_missing(self, plan: Plan, share: Share, missing: int) -> None:
        owner, generation, now = share.owner, plan.configuration.generation, self._loop.time()
        failure = self._failures.get(owner)
        if failure is not None and failure.generation != generation:
            del self._failures[owner]
        elif failure is not None:
            # Whether it works by now is tried with one.
            missing = min(missing, 1) if now >= failure.retry_at else 0
        under_way = [*self._starts.values(), *(lease.version.owner for lease in self._environments.initialised)]
        missing = min(missing - under_way.count(owner), STARTS_MAX - len(self._starts))
        if now >= self._start_at:
            for _ in range(missing):
                self._start(share, generation)

    def _start(self, share: Share, generation: int) -> None:
        def on_end(result: InvocationResult | None, error: Exception | None) -> None:
            del self._starts[run]
            if result is not None and result.function_error is not None:
                log.warning("%s does not initialise (%s)", share.target.spec.function_arn, result.function_error)
                self._failed(share.owner, generation, INIT_FAILURE)
            elif isinstance(error, StartFailedError | CannotRunError):
                self._failed(share.owner, generation, f"The execution environment could not be started: {error}")
            elif error is not None:
                log.info("a provisioned environment did not start: %s", error)
                self._start_at = self._loop.time() + PAUSE_S
            self._wake.set()

        run = Run(self._environments, share.target, Invocation(str(uuid.uuid4()), b""), on_end, 0.0)
        self._starts[run] = share.owner
        run.start()

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
        for run in self._starts:
            run.cancel()
        self._starts.clear()
        self._environments.give_up()
