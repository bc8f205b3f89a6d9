"""Answers as ASGI messages, and the project's own errors as the API's: the frontend's boundary."""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from shared.aws.error_rendering import render
from shared.domain.errors import (
    ApiError,
    DispatchUnavailableError,
    InvocationLostError,
    NoCapacityError,
    NotStartedError,
    ResponseLostError,
    ServiceException,
    StaleTargetError,
    TooManyRequestsException,
)
from shared.domain.invocations import InvocationResult

log = logging.getLogger("lambdad.frontend")

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

LARGE_BYTES = 1024 * 1024
"""Work on more than this (hashing, parsing) is done in a thread: it would hold up every other request."""


def translate(error: Exception) -> ApiError | None:
    """What a client is told about an error; None for one that nobody expected."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, NoCapacityError):
        return TooManyRequestsException(
            "ConcurrentInvocationLimitExceeded", "No worker has room for another execution environment."
        )
    if isinstance(error, NotStartedError):
        return ServiceException("The function could not be started: the workers that were tried refused it. It did not run.")
    if isinstance(error, DispatchUnavailableError | StaleTargetError):
        return ServiceException("The function could not be started: no worker can be reached. It did not run.")
    if isinstance(error, ResponseLostError):
        return ServiceException("The function ran, and its response was lost on the way.")
    if isinstance(error, InvocationLostError):
        return ServiceException("The connection to the worker was lost. Whether the function ran is not known.")
    if isinstance(error, TimeoutError | ConnectionError):
        return ServiceException("A part of the service did not answer in time.")
    return None


async def send_error(send: Send, error: ApiError, request_id: str) -> None:
    rendered = render(error, request_id)
    await send({"type": "http.response.start", "status": rendered.status, "headers": rendered.headers})
    await send({"type": "http.response.body", "body": rendered.body})


def result_head(request_id: str, result: InvocationResult, *, log_tail: bool) -> bytes:
    """The header lines of a synchronous invocation's answer, with a line break behind each."""
    head = b"content-type: application/json\r\nx-amz-executed-version: %b\r\nx-amzn-requestid: %b\r\ncontent-length: %d\r\n" % (
        result.executed_version.encode(),
        request_id.encode(),
        len(result.payload),
    )
    if result.function_error is not None:
        head += b"x-amz-function-error: %b\r\n" % result.function_error.encode()
    if log_tail:
        head += b"x-amz-log-result: %b\r\n" % base64.b64encode(result.log_tail)
    return head
