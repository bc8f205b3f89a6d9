"""The end of an invocation in an environment with extensions: from the runtime's answer until they have done with the event.

Its caller is answered as soon as the runtime has; the environment is free again when this is over. Extensions have what is left
of the function's timeout. When the runtime, or an extension, has failed, what still runs gets the time to shut down: everything
starts anew with the next event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from services.worker.environment.interruption import Interruption
from services.worker.environment.verdicts import UNHANDLED, Verdict
from services.worker.sandbox.spec import Failure, Sandbox, ShutdownReason
from services.worker.telemetry.events import RuntimeDone, Status, TelemetryEvent
from shared.domain.invocations import InvocationResult


class Answered(msgspec.Struct, frozen=True):
    """An invocation whose runtime has answered, or ended. verdict: None where it simply succeeded. version: what ran. began,
    until: by time.monotonic(). broken: the runtime cannot go on, for this reason. tail: the caller wants the end of the log, so
    that its answer waits for all of it."""

    request_id: str
    version: str
    payload: bytes
    verdict: Verdict | None
    began: float
    until: float
    broken: ShutdownReason | None
    tail: bool
    on_end: Callable[[InvocationResult], None]


Account = Callable[[str, float, Status, str | None, bool], InvocationResult]
"""Reports an invocation by its request id, duration, status, error type and whether it ran out of memory; what was found, with
the end of the log, as a result without a response."""


def shutdown_reason(interruption: Interruption | None) -> ShutdownReason:
    return ShutdownReason.TIMEOUT if interruption is Interruption.TIMEOUT else ShutdownReason.FAILURE


class Settling:
    """Of one invocation. told: its caller has its answer. on_settled: called at the end then. failed: everything has to start
    anew."""

    def __init__(self, sandbox: Sandbox, publish: Callable[[TelemetryEvent], None], account: Account, limit_s: float) -> None:
        self._sandbox = sandbox
        self._publish = publish
        self._account = account
        self._limit_s = limit_s
        self.told = False
        self.failed = False
        self.on_settled: Callable[[], None] = _nobody

    async def run(self, answered: Answered) -> InvocationResult | None:
        """The result, where the caller has not got it. Raises SandboxError."""
        verdict = answered.verdict
        runtime_ms = self._duration_ms(answered, verdict.status if verdict is not None else Status.SUCCESS)
        self._tell_runtime_done(answered, runtime_ms)
        settled: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
        if answered.broken is None:
            # They may have done with it just after the wait for that is over.
            self._sandbox.settled(lambda failure: None if settled.done() else settled.set_result(failure))
        if not settled.done() and not answered.tail:
            self.told = True
            answered.on_end(_result(answered, InvocationResult(b"", answered.version, duration_ms=runtime_ms)))
        status, error_type, out_of_memory, reason = await self._outcome(answered, settled)
        if reason is not None:
            self.failed = True
            await self._sandbox.shut_down(reason)
        figures = self._account(answered.request_id, self._duration_ms(answered, status), status, error_type, out_of_memory)
        return None if self.told else _result(answered, figures)

    async def _outcome(
        self, answered: Answered, settled: asyncio.Future[Failure | None]
    ) -> tuple[Status, str | None, bool, ShutdownReason | None]:
        """Status, error type, whether memory ran out, and why everything has to start anew, if it has to."""
        verdict = answered.verdict
        status, error_type, out_of_memory = Status.SUCCESS, None, False
        if verdict is not None:
            status, error_type, out_of_memory = verdict.status, verdict.error_type, verdict.out_of_memory
        if answered.broken is not None:
            return status, error_type, out_of_memory, answered.broken
        try:
            async with asyncio.timeout(max(0.0, answered.until - time.monotonic())):
                failure = await settled
        except TimeoutError:
            return Status.TIMEOUT, None, False, ShutdownReason.TIMEOUT
        if failure is not None:
            return Status.FAILURE, failure.error_type, failure.out_of_memory, ShutdownReason.FAILURE
        return status, error_type, out_of_memory, None

    def _tell_runtime_done(self, answered: Answered, runtime_ms: float) -> None:
        verdict = answered.verdict
        self._publish(
            RuntimeDone(
                answered.request_id,
                Status.SUCCESS if verdict is None else verdict.status,
                runtime_ms,
                len(answered.payload),
                None if verdict is None else verdict.error_type,
            )
        )

    def _duration_ms(self, answered: Answered, status: Status) -> float:
        return (self._limit_s if status is Status.TIMEOUT else time.monotonic() - answered.began) * 1e3


def _result(answered: Answered, figures: InvocationResult) -> InvocationResult:
    function_error = None if answered.verdict is None else UNHANDLED
    return msgspec.structs.replace(figures, payload=answered.payload, function_error=function_error)


def _nobody() -> None:
    """Nobody waits."""
