"""One execution environment: a sandbox, what runs in it, and its limits of time. How what ran is judged: verdicts.py.

The environment never decides who may use it: `fleet.py` does. It is used by one invocation at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from services.worker.environment import error_documents
from services.worker.environment.interruption import Interrupter, Interruption
from services.worker.environment.machine import Event, State, advance
from services.worker.environment.peak_memory import PeakMemory
from services.worker.environment.settling import Answered, Settling, shutdown_reason
from services.worker.environment.trace import TraceHeaders
from services.worker.environment.verdicts import UNHANDLED, End, Verdict, billed_ms, judge, judge_initialisation
from services.worker.sandbox.spec import (
    InvalidInvocationError,
    ResponseStream,
    RuntimeExit,
    RuntimeInvocation,
    RuntimeReady,
    RuntimeResponse,
    Sandbox,
    SandboxError,
    SandboxSpec,
    ShutdownReason,
)
from services.worker.telemetry.environment_log import EnvironmentLog, LogSink
from services.worker.telemetry.events import (
    ON_DEMAND,
    PROVISIONED,
    FunctionOutput,
    InitReport,
    InitStart,
    Phase,
    Report,
    Start,
    Status,
    Subscriber,
    TelemetryEvent,
)
from services.worker.telemetry.platform_lines import makers_for
from shared.dispatch.wire.messages import InvokeHeader
from shared.domain.functions import VersionSpec
from shared.domain.invocations import InvocationResult
from shared.domain.limits import INIT_TIMEOUT_S
from shared.domain.provisioned import init_limit_s

log = logging.getLogger("lambdad.worker")

STUCK = "the runtime did not end after it was killed"


class _Run(msgspec.Struct, eq=False):
    """One invocation under way. began: by time.monotonic(). restarting: the runtime is started for it first. told: its start
    is in the log."""

    event: RuntimeInvocation
    on_end: Callable[[InvocationResult], None]
    stream: ResponseStream | None
    began: float
    timer: asyncio.TimerHandle
    restarting: asyncio.Task[None] | None = None
    told: bool = False


class Environment:
    """Implements `spec.Watcher`. lease: the highest (epoch, fence) seen. holder: instance name of the caller that has, or
    last had, the lease. stop_when_done: asked to stop while busy. usable: False once the sandbox broke a promise; it must
    then be destroyed. settling: its invocation was answered, and its extensions have not done with it. used: since the
    freezer looked last. frozen_at: by the loop's time. provisioned: started for provisioned concurrency. prepared: and it has
    initialised. subscribers: get what happens here, after its log."""

    __slots__ = (
        "_alive",
        "_ending",
        "_extended",
        "_init_failed",
        "_init_ms",
        "_interrupter",
        "_limit_s",
        "_log",
        "_loop",
        "_peak_memory",
        "_sandbox",
        "_stuck",
        "_subscribers",
        "_traces",
        "frozen_at",
        "holder",
        "id",
        "lease",
        "prepared",
        "provisioned",
        "settling",
        "sink",
        "spec",
        "state",
        "stop_when_done",
        "usable",
        "used",
    )

    def __init__(
        self,
        environment_id: str,
        spec: VersionSpec,
        sink: LogSink,
        *,
        lease: tuple[int, int],
        holder: str,
        provisioned: bool = False,
        subscribers: tuple[Subscriber, ...] = (),
    ) -> None:
        self.id = environment_id
        self.spec = spec
        self.state = State.STARTING
        self.lease = lease
        self.holder = holder
        self.stop_when_done = False
        self.usable = True
        self.used = True
        self.frozen_at = 0.0
        self.sink = sink
        self._traces = TraceHeaders(spec.function_arn)
        self._log = EnvironmentLog(sink, makers_for(spec, PROVISIONED if provisioned else ON_DEMAND))
        self._subscribers = (self._log.on_event, *subscribers)
        self.provisioned = provisioned
        self.prepared = False
        self._init_failed = Status.SUCCESS
        self._limit_s = float(spec.timeout_s)
        self._loop = asyncio.get_running_loop()
        self._sandbox: Sandbox | None = None
        self._alive = False
        self._init_ms: float | None = None
        self._interrupter = Interrupter(environment_id, self._give_up)
        self._ending: asyncio.Task[None] | None = None
        self._stuck = False
        self._extended = False
        self.settling: Settling | None = None
        self._peak_memory = PeakMemory(spec.memory_mb)

    @property
    def busy(self) -> bool:
        return self.state is State.BUSY or self.state is State.STARTING

    @property
    def is_new(self) -> bool:
        """Admitted for a cold start and not up yet."""
        return self.state is State.STARTING

    def occupy(self, lease: tuple[int, int], holder: str) -> None:
        """Take the environment for one invocation; `release` gives it back."""
        if self.state is State.FROZEN and self._sandbox is not None:
            self._sandbox.thaw()
        self.state = advance(self.state, Event.INVOKED)
        self.used = True
        self.lease = lease
        self.holder = holder
        self._interrupter.reason = None

    def release(self) -> None:
        self.state = advance(self.state, Event.ANSWERED)

    def freeze(self) -> None:
        """Stop everything that the function left running, until it is next occupied."""
        self.state = advance(self.state, Event.FREEZE)
        self.frozen_at = self._loop.time()
        if self._sandbox is not None:
            self._sandbox.freeze()

    def rest(self) -> None:
        """Of one that is likely to stay frozen: take less memory from now on, for some work at once."""
        if self.state is State.FROZEN and self._sandbox is not None:
            self._sandbox.rest()

    def held_bytes(self) -> int:
        """What its end would make free, about."""
        return 0 if self._sandbox is None else self._sandbox.held_bytes()

    async def start(self, sandbox: Sandbox, sandbox_spec: SandboxSpec) -> None:
        """Attach the code and let the runtime initialise, for 10 s at most. A failed initialisation is no error here: it is
        repeated inside the invocation. Raises SandboxError when the sandbox cannot be made as promised.

        On return the environment is busy with the invocation that it was started for."""
        self._sandbox = sandbox
        interrupter = self._interrupter
        interrupter.guard(sandbox)
        self._publish(InitStart())
        began = time.monotonic()
        await sandbox.start(sandbox_spec, self)
        if self.cancelled:
            raise SandboxError("the caller cancelled before the runtime was up")
        interrupter.waiting = asyncio.current_task()
        timer = interrupter.after(float(self._init_limit_s()))
        try:
            end = await sandbox.initialised()
        except asyncio.CancelledError:
            if not self._stuck:
                raise
            raise self._stuck_error() from None
        finally:
            timer.cancel()
            interrupter.waiting = None
        await interrupter.killed()
        self._extended = sandbox.extended
        init_ms = (time.monotonic() - began) * 1e3
        if isinstance(end, RuntimeReady) and interrupter.reason is None:
            self._alive = True
            self._init_ms = init_ms
            self._publish(InitReport(Phase.INIT, Status.SUCCESS, init_ms))
        else:
            self._report_failed_init(Phase.INIT, init_ms, end)
        if interrupter.reason is Interruption.TIMEOUT:
            interrupter.reason = None
        self.state = advance(advance(self.state, Event.STARTED), Event.INVOKED)

    def prepare(self) -> InvocationResult:
        """After `start`, for provisioned concurrency: whether the runtime has initialised. If not, `function_error` says how
        that ended, and the environment is of no use: unlike on demand, there is no invocation to repeat it in."""
        self.prepared = self.usable = self._alive
        failed = None if self._alive else self._init_failed.value
        return InvocationResult(b"", self.spec.version, failed, init_ms=self._init_ms)

    @property
    def worn_out(self) -> bool:
        """Provisioned, and its runtime has ended: another environment, initialised ahead, has to take its place."""
        return self.prepared and not self._alive

    def _init_limit_s(self) -> int:
        return init_limit_s(self.spec.timeout_s) if self.provisioned else INIT_TIMEOUT_S

    def invoke(
        self,
        header: InvokeHeader,
        payload: bytes,
        on_end: Callable[[InvocationResult], None],
        stream: ResponseStream | None = None,
    ) -> None:
        """Run one event under the function's timeout; on_end gets the result, exactly once. Whatever happens is a result; when
        it was the sandbox that broke, `usable` is False by then. The runtime's deadline is the function's, not the caller's:
        as on AWS. stream: gets the response while it is written, if the runtime streams it; the result has no payload then."""
        self._log.begin(tail=header.log_tail)
        now_s = time.time()
        event = RuntimeInvocation(
            header.request_id,
            payload,
            int((now_s + self._limit_s) * 1e3),
            header.invoked_arn,
            self._traces.header(header.trace, now_s),
            header.client_context,
        )
        interrupter = self._interrupter
        timer = self._loop.call_later(self._limit_s, interrupter.interrupt, Interruption.TIMEOUT)
        run = interrupter.waiting = _Run(event, on_end, stream, time.monotonic(), timer)
        if self._alive and self._sandbox is not None and self._sandbox.alive:
            self._hand_over(run)
        else:
            self._begin_restart(run)

    def _begin_restart(self, run: _Run) -> None:
        self._alive = False
        run.restarting = self._loop.create_task(self._restart(run), name=f"restart-{self.id}")

    def _hand_over(self, run: _Run) -> None:
        assert self._sandbox is not None
        try:
            self._tell_start(run)
            self._sandbox.invoke(run.event, self._on_end, run.stream)
        except (SandboxError, InvalidInvocationError) as error:
            self._on_end(error)
        except Exception as error:
            # Nobody knows what the sandbox has got of the event: it is not used again.
            log.exception("environment %s could not begin an invocation", self.id)
            self._on_end(SandboxError(f"an invocation could not be begun: {error!r}"))

    async def _restart(self, run: _Run) -> None:
        """Start the runtime inside an invocation, under its timeout, and hand the event over."""
        assert self._sandbox is not None
        try:
            end = await self._initialise_again(self._sandbox, run.began)
        except Exception as error:
            self._on_end(error if isinstance(error, SandboxError) else SandboxError(f"it cannot be restarted: {error!r}"))
            return
        if end is None:
            self._hand_over(run)
        else:
            self._tell_start(run)
            self._on_end(end)

    def _tell_start(self, run: _Run) -> None:
        if not run.told:
            run.told = True
            start = Start(run.event.request_id, run.event.trace)
            for subscriber in self._subscribers:
                subscriber(start)

    def _on_end(self, end: End) -> None:
        interrupter = self._interrupter
        run = interrupter.waiting
        if type(run) is not _Run:
            return  # It was given up.
        if type(end) is RuntimeExit and end.untaken and run.restarting is None and interrupter.reason is None:
            # The runtime had ended already, of what was before: this event has not begun.
            self._begin_restart(run)
            return
        interrupter.waiting = None
        run.timer.cancel()
        if self._extended:
            self._ending = self._loop.create_task(self._end_extended(run, end))
            return
        now = time.monotonic()
        duration_ms = (now - run.began) * 1e3
        if (
            interrupter.reason is None
            and type(end) is RuntimeResponse
            and end.error_type is None
            and end.too_large_bytes is None
        ):
            try:
                result = self._succeeded(run, now, duration_ms, end.payload)
            except Exception:
                result = self._failed_unforeseen(run)
            run.on_end(result)
        elif not interrupter.is_killing:
            self._end_badly(run, duration_ms, end)
        else:
            self._ending = self._loop.create_task(self._end_killed(run, duration_ms, end))

    async def _end_killed(self, run: _Run, duration_ms: float, end: End) -> None:
        await self._interrupter.killed()
        self._end_badly(run, duration_ms, end)

    def _end_badly(self, run: _Run, duration_ms: float, end: End) -> None:
        if isinstance(end, SandboxError):
            log.error("environment %s of %s broke: %s", self.id, self.spec.function_arn, end)
            self.usable = False
        if self._interrupter.reason is not None or isinstance(end, SandboxError | RuntimeExit):
            self._alive = False
        try:
            result = self._failed(duration_ms, run, judge(run.event.request_id, end, self._interrupter.reason, self._limit_s))
        except Exception:
            result = self._failed_unforeseen(run)
        run.on_end(result)

    async def _end_extended(self, run: _Run, end: End) -> None:
        """As settling.py says; what is the sandbox's own failure ends as without extensions."""
        await self._interrupter.killed()
        reason = self._interrupter.reason
        if isinstance(end, SandboxError | InvalidInvocationError):
            self._end_badly(run, (time.monotonic() - run.began) * 1e3, end)
            return
        verdict = None
        if reason is not None or isinstance(end, RuntimeExit) or end.error_type is not None or end.too_large_bytes is not None:
            verdict = judge(run.event.request_id, end, reason, self._limit_s)
        broken = shutdown_reason(reason) if reason is not None or isinstance(end, RuntimeExit) else None
        payload = verdict.payload if verdict is not None else end.payload if isinstance(end, RuntimeResponse) else b""
        until = run.began + self._limit_s
        answered = Answered(
            run.event.request_id,
            self.spec.version,
            payload,
            verdict,
            run.began,
            until,
            broken,
            self._log.has_tail,
            run.on_end,
        )
        assert self._sandbox is not None
        settling = self.settling = Settling(self._sandbox, self._publish, self._account, self._limit_s)
        result: InvocationResult | None = None
        try:
            result = await settling.run(answered)
        except Exception:
            result = self._failed_unforeseen(run)
        self.settling = None
        if settling.failed:
            self._alive = False
        if settling.told:
            settling.on_settled()
        elif result is not None:
            run.on_end(result)

    def cancel(self) -> None:
        """The caller went away: kill what runs. The environment stays usable, its runtime starts again when next needed."""
        self._interrupter.interrupt(Interruption.CANCELLED)

    @property
    def cancelled(self) -> bool:
        return self._interrupter.reason is Interruption.CANCELLED

    async def destroy(self) -> None:
        """Stop for good. Never raises: what the sandbox could not give back is logged."""
        self.state = advance(self.state, Event.STOP)
        if self._sandbox is not None:
            try:
                if self._extended:
                    await self._sandbox.shut_down(ShutdownReason.SPINDOWN)
                await self._sandbox.destroy()
            except SandboxError as error:
                log.error("environment %s left something behind: %s", self.id, error)
        self.state = advance(self.state, Event.DESTROYED)

    async def _initialise_again(self, sandbox: Sandbox, began: float) -> RuntimeExit | None:
        """Answers how it failed, None when the runtime is ready."""
        self._init_ms = None
        self._peak_memory.reset()
        if self._extended:
            await sandbox.shut_down(ShutdownReason.FAILURE)
        await sandbox.restart()
        if self._interrupter.reason is not None:
            await sandbox.kill_runtime()
        end = await sandbox.initialised()
        self._extended = sandbox.extended
        if isinstance(end, RuntimeReady):
            self._alive = True
            if self._extended:
                self._publish(InitReport(Phase.INVOKE, Status.SUCCESS, (time.monotonic() - began) * 1e3))
            return None
        self._report_failed_init(Phase.INVOKE, (time.monotonic() - began) * 1e3, end)
        return end

    def _report_failed_init(self, phase: Phase, init_ms: float, end: RuntimeReady | RuntimeExit) -> None:
        failed = judge_initialisation(end, self._interrupter.reason)
        if failed is not None:
            self._init_failed, error_type = failed
            self._publish(InitReport(phase, self._init_failed, init_ms, error_type))

    def _give_up(self, waiting: object) -> None:
        """The sandbox does not report the end of a runtime that was killed."""
        if isinstance(waiting, _Run):
            if waiting.restarting is not None:
                waiting.restarting.cancel()
            self._on_end(SandboxError(STUCK))
        elif isinstance(waiting, asyncio.Task):
            self._stuck = True
            waiting.cancel()

    @staticmethod
    def _stuck_error() -> SandboxError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        return SandboxError(STUCK)

    def on_output(self, data: bytes, whole: bool) -> None:
        self._publish(FunctionOutput(data, whole))

    def on_event(self, event: TelemetryEvent) -> None:
        self._publish(event)

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers = (*self._subscribers, subscriber)

    def _publish(self, event: TelemetryEvent) -> None:
        for subscriber in self._subscribers:
            subscriber(event)

    def _succeeded(self, run: _Run, now: float, duration_ms: float, payload: bytes) -> InvocationResult:
        assert self._sandbox is not None
        init_ms, self._init_ms = self._init_ms, None
        billed = billed_ms(duration_ms, None if self.provisioned else init_ms)
        memory_mb = self._peak_memory.read_mb(self._sandbox, now)
        report = Report(run.event.request_id, duration_ms, billed, self.spec.memory_mb, memory_mb, init_ms)
        for subscriber in self._subscribers:
            subscriber(report)
        return InvocationResult(
            payload, self.spec.version, None, self._log.take_tail(), duration_ms, billed, init_ms, max_memory_mb=memory_mb
        )

    def _failed(self, duration_ms: float, run: _Run, verdict: Verdict) -> InvocationResult:
        if verdict.status is Status.TIMEOUT:
            duration_ms = self._limit_s * 1e3
        figures = self._account(run.event.request_id, duration_ms, verdict.status, verdict.error_type, verdict.out_of_memory)
        return msgspec.structs.replace(figures, payload=verdict.payload, function_error=UNHANDLED)

    def _account(
        self, request_id: str, duration_ms: float, status: Status, error_type: str | None, out_of_memory: bool
    ) -> InvocationResult:
        """Report an invocation. Its figures and the end of its log, as a result without a response."""
        assert self._sandbox is not None
        init_ms, self._init_ms = self._init_ms, None
        memory_mb = self.spec.memory_mb if out_of_memory else self._peak_memory.read_mb(self._sandbox, time.monotonic())
        billed = billed_ms(duration_ms, None if self.provisioned else init_ms)
        self._publish(Report(request_id, duration_ms, billed, self.spec.memory_mb, memory_mb, init_ms, status, error_type))
        return InvocationResult(b"", self.spec.version, None, self._log.take_tail(), duration_ms, billed, init_ms, memory_mb)

    def _failed_unforeseen(self, run: _Run) -> InvocationResult:
        log.exception("environment %s failed in a way nobody foresaw", self.id)
        self.usable = False
        document = error_documents.sandbox_failed(run.event.request_id, "The execution environment failed")
        return InvocationResult(document, self.spec.version, UNHANDLED)
