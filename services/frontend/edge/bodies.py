"""Reading request bodies: never more than a limit, and never more at once than the process can hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from shared.domain.errors import ApiError, ServiceException, TooManyRequestsException

Receive = Callable[[], Awaitable[dict[str, Any]]]

SMALL_BODY_BYTES = 64 * 1024
"""Bodies up to this size are not counted: the bound on connections bounds them."""
BUFFERED_BYTES_MAX = 512 * 1024 * 1024


class ClientGoneError(Exception):
    """The client closed the connection, or was cut off, before its request was complete."""


class BodyReader:
    """Hands out room for the large bodies that are held in memory at one time."""

    def __init__(self, bytes_max: int = BUFFERED_BYTES_MAX) -> None:
        self._room_bytes = bytes_max

    async def read(
        self, receive: Receive, declared_bytes: int | None, limit_bytes: int, too_large: Callable[[int], ApiError]
    ) -> bytes:
        """The whole body. declared_bytes: the content-length, None for a chunked body.

        Raises what `too_large` makes of the size, at once when the size is declared; TooManyRequestsException when too many
        large bodies are being read; ClientGoneError.
        """
        if declared_bytes is not None and declared_bytes > limit_bytes:
            raise too_large(declared_bytes)
        message = await receive()
        if message["type"] == "http.request" and not message["more_body"]:
            body: bytes = message["body"]
            if len(body) > limit_bytes:
                raise too_large(len(body))
            return body
        reserved = limit_bytes if declared_bytes is None else declared_bytes
        if reserved <= SMALL_BODY_BYTES:
            reserved = 0
        if reserved > self._room_bytes:
            raise TooManyRequestsException("CallerRateLimitExceeded")
        self._room_bytes -= reserved
        try:
            return await _collect(receive, message, limit_bytes, too_large)
        finally:
            self._room_bytes += reserved


async def _collect(receive: Receive, message: dict[str, Any], limit_bytes: int, too_large: Callable[[int], ApiError]) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise ClientGoneError
        parts.append(message["body"])
        size += len(message["body"])
        if size > limit_bytes:
            raise too_large(size)
        if not message["more_body"]:
            return b"".join(parts)
        message = await receive()


def declared_length(value: bytes | None) -> int | None:
    """The content-length header's number; the HTTP parser has refused everything that is none."""
    if value is None:
        return None
    if not value.isdigit():
        raise ServiceException("The content-length header is not a number.")
    return int(value)
