"""All environments of one worker: who may use which, which are started and stopped, and how many there may be.

Admission is synchronous, so that what an INVOKE frame claims is decided before the next frame is read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
from prometheus_client import Counter, Gauge, Histogram

from services.worker.environment.environment import Environment
from services.worker.environment.machine import State
from services.worker.freezer import Freezer
from services.worker.lifetimes import Lifetimes
from services.worker.pressure import Idle
from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.sandbox.spec import Sandbox, SandboxError, SandboxSpec
from services.worker.start_queue import StartQueue
from services.worker.teardown import Teardowns
from services.worker.telemetry.environment_log import LogSink
from services.worker.telemetry.events import PROVISIONED, Subscriber
from shared.dispatch.cell.membership import EnvironmentReport
from shared.dispatch.cell.retirement import Retirement
from shared.dispatch.wire.messages import InvokeHeader, Refusal, RefusalReason
from shared.domain.errors import LambdadError
from shared.domain.functions import VersionSpec
from shared.packages.refusals import PackageRefusedError

log = logging.getLogger("lambdad.worker")

ENVIRONMENTS = Gauge("lambdad_worker_environments", "Environments that exist now")
COLD_STARTS = Counter("lambdad_worker_cold_starts_total", "Environments started", ["outcome"])
START_SECONDS = Histogram(
    "lambdad_worker_start_seconds",
    "From the admission of a cold start until the runtime has initialised",
    buckets=(0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 1, 2, 4, 10),
)

START_WAIT_S = 3.0
"""The longest wait for other cold starts and for a sandbox. A caller allows 5 s more than the initialisation and the function
may take; what is left of them is to fetch the code, to kill a runtime and to answer."""
START_WAIT_S_MIN = 1.0
"""Of that, what is left to a start whose code took long to fetch."""

ENDING_MAX = 128
"""Environments that wait for their end while as many as may exist run: each holds a user id, of which there are few more."""
RETIREMENTS_KEPT = 32
"""Of versions that went last: a cold start of one may have been on its way."""
QUIET = (RefusalReason.CANCELLED, RefusalReason.NO_ROOM, RefusalReason.PACKAGE_REFUSED, RefusalReason.UNSUPPORTED_RUNTIME)
"""Refusals without a line of their own in the log: of a package the code cache says it once, of a runtime whoever wanted it."""


class CodeLease(Protocol):
    """Unpacked code that stays where it is until released. layers_dir: None for a version without layers."""

    code_dir: Path
    layers_dir: Path | None

    def release(self) -> None: ...


class Code(Protocol):
    async def acquire(self, spec: VersionSpec) -> CodeLease:
        """Raises PackageRefusedError when a package must not be unpacked, LambdadError when it cannot be had or unpacked."""


class Pool(Protocol):
    async def take(self, runtime: str, memory_mb: int) -> Sandbox:
        """Raises UnsupportedRuntimeError or SandboxError."""


class StartSettings(msgspec.Struct, frozen=True):
    """What a new environment is given. variables: of the runtime process, all of them. subscribers: get what happens in it,
    after its log."""

    open_log: Callable[[VersionSpec, str], LogSink]
    variables: Callable[[VersionSpec, LogSink], dict[str, str]]
    subscribers: tuple[Subscriber, ...] = ()


class StartRefusedError(LambdadError):
    """A cold start failed before anything of the user's ran; the environment is gone."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


class TooManyStartsError(LambdadError):
    """So many other environments start here that this one did not get its turn in time."""


Gone = Callable[[str], Awaitable[None]]


class Fleet:
    """on_gone: told of each environment that ended without its caller being told so by a RESULT or REFUSED.
    epoch: the newest epoch this worker has reported under; leases of an older one are not counted any more. architecture: of
    the functions that run here, "" for any."""

    def __init__(
        self,
        *,
        pool: Pool,
        code: Code,
        start: StartSettings,
        environments_max: int,
        on_gone: Gone,
        epoch: Callable[[], int] = lambda: 0,
        architecture: str = "",
    ) -> None:
        self.draining = False
        self._pool = pool
        self._code = code
        self._start = start
        self._environments_max = environments_max
        self._on_gone = on_gone
        self._epoch = epoch
        self._architecture = architecture
        self._environments: dict[str, Environment] = {}
        self._leases: dict[str, CodeLease] = {}
        self._starts = StartQueue()
        self._freezer = Freezer()
        self._lifetimes = Lifetimes(self.stop)
        self._retired: deque[Retirement] = deque(maxlen=RETIREMENTS_KEPT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._teardowns = Teardowns(
            self._spawn, lambda waiting: len(self._environments) + waiting > environments_max + ENDING_MAX
        )
        ENVIRONMENTS.set_function(lambda: len(self._environments))

    def __len__(self) -> int:
        return len(self._environments)

    def inventory(self) -> list[EnvironmentReport]:
        return [
            EnvironmentReport(
                e.id, e.spec.version_key, e.spec.counted_as, e.spec.memory_mb, e.busy, e.lease, e.holder, _provisioned(e)
            )
            for e in self._environments.values()
        ]

    def idle(self) -> list[Idle]:
        """Those that stand still. One that was used a moment ago is not idle, nor is one that starts."""
        return [
            Idle(each.id, each.frozen_at, each.held_bytes(), each.provisioned)
            for each in self._environments.values()
            if each.state is State.FROZEN
        ]

    def admit(self, header: InvokeHeader, holder: str) -> Environment | Refusal:
        """Decide on an INVOKE. An Environment is now taken for it: `finish` must follow; a new one needs `start` first."""
        environment = self._environments.get(header.environment_id)
        if environment is None:
            return self._admit_new(header, holder)
        lease = (header.epoch, header.fence)
        if lease < environment.lease or header.epoch < self._epoch():
            return Refusal(RefusalReason.STALE_FENCE, gone=False, detail="a newer lease of this environment was seen")
        if environment.spec.version_key != header.version_key:
            return Refusal(RefusalReason.UNKNOWN_ENVIRONMENT, gone=True, detail="it runs another version")
        if self.draining:
            return Refusal(RefusalReason.DRAINING, gone=False)
        if environment.state is State.FROZEN:
            self._freezer.watch(environment)
        elif environment.state is not State.IDLE:
            return Refusal(RefusalReason.BUSY, gone=False)
        environment.occupy(lease, holder)
        return environment

    def _admit_new(self, header: InvokeHeader, holder: str) -> Environment | Refusal:
        spec = header.spec
        if spec is None:
            return Refusal(RefusalReason.UNKNOWN_ENVIRONMENT, gone=True)
        if self.draining:
            return Refusal(RefusalReason.DRAINING, gone=True)
        if header.epoch < self._epoch():
            return Refusal(RefusalReason.STALE_FENCE, gone=True, detail="the lease is of an older epoch")
        if spec.version_key != header.version_key:
            return Refusal(RefusalReason.FAILED, gone=True, detail="the lease is for another version")
        if self._architecture and spec.architecture != self._architecture:
            return Refusal(RefusalReason.UNSUPPORTED_RUNTIME, gone=True, detail=f"this worker is {self._architecture}")
        self.stop(header.evict)
        if len(self._environments) >= self._environments_max:
            return Refusal(RefusalReason.NO_ROOM, gone=True)
        sink = self._start.open_log(spec, header.environment_id)
        environment = Environment(
            header.environment_id,
            spec,
            sink,
            lease=(header.epoch, header.fence),
            holder=holder,
            provisioned=header.prepare,
            subscribers=self._start.subscribers,
        )
        environment.stop_when_done = any(each.covers(spec.version_key) for each in self._retired)
        self._environments[environment.id] = environment
        self._freezer.watch(environment)
        self._lifetimes.watch(environment.id)
        return environment

    async def start(self, environment: Environment) -> None:
        """Bring a newly admitted environment up. Raises StartRefusedError; the environment is gone then."""
        began = asyncio.get_running_loop().time()
        try:
            await self._bring_up(environment)
        except (LambdadError, SandboxError, OSError) as error:
            reason = _reason_of(error, environment)
            COLD_STARTS.labels("refused" if reason is RefusalReason.NO_ROOM else "failed").inc()
            if reason not in QUIET:
                log.error("environment %s of %s cannot start: %s", environment.id, environment.spec.function_arn, error)
            self._discard(environment, tell=False)
            raise StartRefusedError(Refusal(reason, gone=True, detail=str(error))) from error
        except BaseException:
            self._discard(environment, tell=True)
            raise
        COLD_STARTS.labels("started").inc()
        START_SECONDS.observe(asyncio.get_running_loop().time() - began)

    async def _bring_up(self, environment: Environment) -> None:
        spec = environment.spec
        now = asyncio.get_running_loop().time
        until = now() + START_WAIT_S
        lease = await self._code.acquire(spec)
        self._leases[environment.id] = lease
        until = max(until, now() + START_WAIT_S_MIN)
        try:
            async with asyncio.timeout_at(until):
                await self._starts.enter()
        except TimeoutError:
            raise TooManyStartsError("too many environments start on this worker") from None
        try:
            # The limit of the initialisation counts from here on: it is the environment's, and not of those before it.
            sandbox = await self._take(environment, until)
            await environment.start(
                sandbox,
                SandboxSpec(
                    handler=spec.handler,
                    environment=self._variables(environment),
                    code_dir=lease.code_dir,
                    layers_dir=lease.layers_dir,
                    memory_mb=spec.memory_mb,
                    tmp_mb=spec.tmp_mb,
                    version=spec,
                ),
            )
        finally:
            self._starts.leave()

    def _variables(self, environment: Environment) -> dict[str, str]:
        variables = self._start.variables(environment.spec, environment.sink)
        if environment.provisioned:
            variables["AWS_LAMBDA_INITIALIZATION_TYPE"] = PROVISIONED
        return variables

    async def _take(self, environment: Environment, until: float) -> Sandbox:
        if environment.cancelled:
            raise SandboxError("the caller cancelled before there was a sandbox")
        try:
            async with asyncio.timeout_at(max(until, asyncio.get_running_loop().time() + START_WAIT_S_MIN)):
                return await self._pool.take(environment.spec.runtime, environment.spec.memory_mb)
        except TimeoutError:
            raise TooManyStartsError("no sandbox was ready in time") from None

    def finish(self, environment: Environment) -> bool:
        """An invocation is over. True when the environment may be leased again, False when it is going away; its caller
        is told by the answer."""
        if environment.state is not State.BUSY:
            return False  # the worker is ending and destroys it already
        environment.release()
        if environment.usable and environment.settling is None and not environment.stop_when_done and not environment.worn_out:
            return True
        self._discard(environment, tell=False)
        return False

    def stop(self, environment_ids: Sequence[str]) -> None:
        """Stop idle environments now and busy ones once their invocation is over. Unknown ones are gone already."""
        for environment_id in environment_ids:
            environment = self._environments.get(environment_id)
            if environment is None:
                continue
            if environment.busy:
                environment.stop_when_done = True
            else:
                self._discard(environment, tell=True)

    def retire(self, retirement: Retirement) -> None:
        """End what runs a version that is gone, as `stop` does; and later what was on its way when it went."""
        self._retired.append(retirement)
        self.stop([each.id for each in self._environments.values() if retirement.covers(each.spec.version_key)])

    def replace_all(self) -> None:
        """End every environment, as `stop` does: something that all of them stand on is new."""
        self.stop(list(self._environments))

    async def close(self, timeout_s: float) -> None:
        """Destroy every environment; waits `timeout_s` at most."""
        self.draining = True
        self._freezer.close()
        self._lifetimes.close()
        for environment in list(self._environments.values()):
            if environment.busy:
                environment.cancel()
            self._discard(environment, tell=False)
        self._teardowns.hurry()
        tasks = list(self._tasks)
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=timeout_s)
            if left:
                log.error("%d environments were not destroyed within %.0f s", len(left), timeout_s)

    def _discard(self, environment: Environment, *, tell: bool) -> None:
        if self._environments.pop(environment.id, None) is not None:
            self._lifetimes.forget(environment.id)
            self._freezer.forget(environment)
            self._teardowns.add(self._destroy(environment, tell))

    async def _destroy(self, environment: Environment, tell: bool) -> None:
        await environment.destroy()
        lease = self._leases.pop(environment.id, None)
        if lease is not None:
            lease.release()
        if tell:
            await self._on_gone(environment.id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("an environment was not destroyed cleanly", exc_info=task.exception())


def _provisioned(environment: Environment) -> str:
    if not environment.provisioned:
        return ""
    return "r" if environment.prepared else "s"


def _reason_of(error: Exception, environment: Environment) -> RefusalReason:
    if environment.cancelled:
        return RefusalReason.CANCELLED
    if isinstance(error, TooManyStartsError):
        return RefusalReason.NO_ROOM
    if isinstance(error, PackageRefusedError):
        return RefusalReason.PACKAGE_REFUSED
    return RefusalReason.UNSUPPORTED_RUNTIME if isinstance(error, UnsupportedRuntimeError) else RefusalReason.FAILED
