"""The error documents that the platform itself makes, word for word as AWS writes them.

Key order is errorType, errorMessage; there is no stack and no request id key. What a runtime posts is never touched.
"""

from __future__ import annotations

import re

import msgspec

from services.worker.sandbox.spec import RuntimeExit
from shared.domain.limits import RESPONSE_BYTES_MAX

TIMED_OUT = "Sandbox.Timedout"
SANDBOX_FAILURE = "Sandbox.Failure"
EXIT_ERROR = "Runtime.ExitError"
OUT_OF_MEMORY = "Runtime.OutOfMemory"
RESPONSE_TOO_LARGE = "Function.ResponseSizeTooLarge"

_REPORTABLE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")


class ErrorDocument(msgspec.Struct, frozen=True):
    errorType: str
    errorMessage: str

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def platform_error(error_type: str, request_id: str, text: str) -> bytes:
    return ErrorDocument(error_type, f"RequestId: {request_id} Error: {text}").encode()


def timed_out(request_id: str, timeout_s: float) -> bytes:
    return platform_error(TIMED_OUT, request_id, f"Task timed out after {timeout_s:.2f} seconds")


def exited(request_id: str, end: RuntimeExit) -> bytes:
    """The runtime's process ended without an answer. A memory kill reads like any other kill; only the log names it."""
    if end.platform_error is not None:
        error_type, text = end.platform_error
        return platform_error(error_type, request_id, text)
    return platform_error(EXIT_ERROR, request_id, exit_text(end))


def exit_text(end: RuntimeExit) -> str:
    if end.out_of_memory:
        return "Runtime exited with error: signal: killed"
    if end.signal is not None:
        return f"Runtime exited with error: signal: {end.signal}"
    if end.exit_status:
        return f"Runtime exited with error: exit status {end.exit_status}"
    return "Runtime exited without providing a reason"


def exit_error_type(end: RuntimeExit) -> str:
    """The type that the log names."""
    if end.out_of_memory:
        return OUT_OF_MEMORY
    if end.platform_error is not None:
        return end.platform_error[0]
    if end.init_error is not None:
        return reportable_type(posted_error_type(end.init_error))
    return EXIT_ERROR


def response_too_large() -> bytes:
    text = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes)."
    return ErrorDocument(RESPONSE_TOO_LARGE, text).encode()


def sandbox_failed(request_id: str, text: str) -> bytes:
    return platform_error(SANDBOX_FAILURE, request_id, text)


def posted_error_type(document: bytes) -> str:
    """errorType of a document that a runtime posted, empty when it has none: a runtime may post anything."""
    try:
        found = msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""
    named = found.get("errorType") if isinstance(found, dict) else None
    return named if isinstance(named, str) else ""


def reportable_type(error_type: str) -> str:
    """The type as logs may show it: AWS passes only Runtime.* and Function.* names of letters and replaces the rest."""
    if _REPORTABLE.fullmatch(error_type):
        return error_type
    return "Function.Unknown" if error_type.startswith("Function.") else "Runtime.Unknown"
