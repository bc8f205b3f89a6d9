"""One invocation: what goes in, what comes out."""

from __future__ import annotations

import msgspec


class Invocation(msgspec.Struct, frozen=True):
    """What a caller wants run.

    payload: the event's bytes, JSON, unchanged. client_context: decoded JSON text. trace: X-Amzn-Trace-Id value.
    """

    request_id: str
    payload: bytes
    log_tail: bool = False
    client_context: str | None = None
    trace: str | None = None


class InvocationResult(msgspec.Struct, frozen=True):
    """How an invocation ended. A function's failure is a result, not an exception.

    function_error: "Unhandled" when the function or its runtime failed, else None. log_tail: last 4 KB, empty unless asked.
    duration_ms, billed_ms, init_ms (None when warm), max_memory_mb: as in the REPORT line.
    """

    payload: bytes
    executed_version: str
    function_error: str | None = None
    log_tail: bytes = b""
    duration_ms: float = 0.0
    billed_ms: int = 0
    init_ms: float | None = None
    max_memory_mb: int = 0
