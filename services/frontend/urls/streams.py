"""The beginning of a streamed answer of a URL: status and headers, from a prelude if the function sends one.

A prelude is a JSON object with statusCode, headers and cookies, behind it eight bytes of zero; the body follows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from services.frontend.urls.replies import Headers, MalformedReplyError, head_of

PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"
PRELUDE_BYTES_MAX = 128 * 1024
_END = bytes(8)


class Opening(msgspec.Struct, frozen=True):
    """first: what of the body came with the prelude."""

    status: int
    headers: Headers
    first: bytes = b""


async def opening(content_type: str, pieces: AsyncIterator[bytes]) -> Opening:
    """Reads no more of `pieces` than it must. Raises MalformedReplyError."""
    if content_type != PRELUDE_TYPE:
        return Opening(200, [(b"content-type", _header(content_type))])
    read = bytearray()
    async for piece in pieces:
        searched = max(0, len(read) - len(_END) + 1)
        read += piece
        end = read.find(_END, searched)
        if end >= 0:
            status, headers = head_of(_document(bytes(read[:end])))
            return Opening(status, headers, bytes(read[end + len(_END) :]))
        if len(read) > PRELUDE_BYTES_MAX:
            raise MalformedReplyError("a prelude without an end")
    raise MalformedReplyError("the response ended inside its prelude")


def _document(text: bytes) -> dict[str, object]:
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedReplyError("the prelude is not JSON") from error
    if not isinstance(document, dict):
        raise MalformedReplyError("the prelude is not an object")
    document.setdefault("statusCode", 200)
    return document


def _header(value: str) -> bytes:
    if not value.isascii() or not value.isprintable():
        raise MalformedReplyError("the content type is not one of a header")
    return value.encode()
