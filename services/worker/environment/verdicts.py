"""How an invocation, or an initialisation, ended: what the caller gets and what the platform reports. No state, no I/O."""

from __future__ import annotations

import math

import msgspec

from services.worker.environment import error_documents
from services.worker.environment.interruption import Interruption
from services.worker.sandbox.spec import (
    InvalidInvocationError,
    RuntimeExit,
    RuntimeReady,
    RuntimeResponse,
    SandboxError,
)
from services.worker.telemetry.events import Status

End = RuntimeResponse | RuntimeExit | SandboxError | InvalidInvocationError
"""Of an invocation, as the sandbox tells it."""
UNHANDLED = "Unhandled"
"""The function error that callers see, whatever went wrong."""


class Verdict(msgspec.Struct, frozen=True):
    """An invocation that did not simply succeed. payload: the error document."""

    payload: bytes
    status: Status
    error_type: str | None
    out_of_memory: bool = False


def judge(request_id: str, end: End, interruption: Interruption | None, limit_s: float) -> Verdict:
    """An interruption is the reason whatever the runtime still said."""
    if interruption is Interruption.TIMEOUT:
        return Verdict(error_documents.timed_out(request_id, limit_s), Status.TIMEOUT, None)
    if interruption is Interruption.CANCELLED:
        return _sandbox_failure(request_id, "The caller cancelled the invocation")
    if isinstance(end, InvalidInvocationError):
        return _sandbox_failure(request_id, f"The invocation cannot be given to the runtime: {end}")
    if isinstance(end, SandboxError):
        return _sandbox_failure(request_id, "The execution environment failed")
    if isinstance(end, RuntimeExit):
        document = end.init_error if end.init_error is not None else error_documents.exited(request_id, end)
        return Verdict(document, exit_status(end), error_documents.exit_error_type(end), end.out_of_memory)
    if end.too_large_bytes is not None:
        return Verdict(error_documents.response_too_large(), Status.ERROR, error_documents.RESPONSE_TOO_LARGE)
    return Verdict(end.payload, Status.ERROR, error_documents.reportable_type(end.error_type or ""))


def judge_initialisation(
    end: RuntimeReady | RuntimeExit, interruption: Interruption | None
) -> tuple[Status, str | None] | None:
    """(status, error type) of a failed one; None when it succeeded or nobody is to know, for the caller went away."""
    if interruption is Interruption.TIMEOUT:
        return Status.TIMEOUT, None
    if interruption is Interruption.CANCELLED or isinstance(end, RuntimeReady):
        return None
    return exit_status(end), error_documents.exit_error_type(end)


def exit_status(end: RuntimeExit) -> Status:
    return Status.FAILURE if end.init_error is None else Status.ERROR


def billed_ms(duration_ms: float, init_ms: float | None) -> int:
    """Whole milliseconds, rounded up, initialisation included."""
    return max(1, math.ceil(round(duration_ms + (init_ms or 0.0), 2)))


def _sandbox_failure(request_id: str, text: str) -> Verdict:
    return Verdict(error_documents.sandbox_failed(request_id, text), Status.FAILURE, error_documents.SANDBOX_FAILURE)
