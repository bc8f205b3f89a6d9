"""A request's body on its way through, piece by piece. Its hash, where the client named one, and the signatures of its chunks
are checked before the last piece leaves: a target never gets the whole of a body that was tampered with."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Mapping

from services.frontend.edge.bodies import ClientGoneError, Receive, declared_length
from shared.aws.signatures.arithmetic import sha256_hex
from shared.aws.signatures.passing_chunks import PassingChunks
from shared.domain.errors import ApiError, AuthError


class StreamedBody:
    """An `httpcore` content. size_bytes: None where the client has not said it. failure: why it broke off, once it did.

    expected: the hash that all of it is to have, None where nobody named one. chunks: what proves those that are signed.
    payload_hash: what a signature says of it.
    """

    def __init__(
        self,
        receive: Receive | None,
        headers: Mapping[bytes, bytes],
        more_time: Callable[[], None] | None,
        *,
        expected: bytes | None,
        payload_hash: bytes | None,
        chunks: PassingChunks | None = None,
        content: bytes = b"",
    ) -> None:
        self.size_bytes = declared_length(headers.get(b"content-length"))
        self.chunked = b"transfer-encoding" in headers
        self.payload_hash = payload_hash
        self.failure: Exception | None = None
        self._receive = receive
        self._more_time = more_time
        self._expected = expected
        self._chunks = chunks
        self._content = content

    @classmethod
    def held(cls, content: bytes, headers: Mapping[bytes, bytes]) -> StreamedBody:
        """One that was read, and proven, already."""
        return cls(None, headers, None, expected=None, payload_hash=sha256_hex(content), content=content)

    @property
    def held_bytes(self) -> int:
        """What of it is in memory from its beginning to its end."""
        return len(self._content)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._receive is None:
            if self._content:
                yield self._content
            return
        try:
            async for piece in self._checked(self._receive):
                yield piece
        except (ClientGoneError, ApiError) as error:
            self.failure = error
            raise

    async def _checked(self, receive: Receive) -> AsyncIterator[bytes]:
        """The last piece is kept back until all of them have the hash that they should."""
        hashed, waiting, more = hashlib.sha256(), b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientGoneError
            if self._more_time is not None:
                self._more_time()
            piece, more = bytes(message["body"]), message["more_body"]
            if self._expected is not None:
                hashed.update(piece)
            if self._chunks is not None:
                self._chunks.feed(piece)
            if waiting and piece:
                yield waiting
            waiting = piece or waiting
        if self._expected is not None and not hmac.compare_digest(hashed.hexdigest().encode(), self._expected):
            raise AuthError(
                "InvalidSignatureException", "The provided 'x-amz-content-sha256' header does not match what was computed."
            )
        if self._chunks is not None:
            self._chunks.finish()
        if waiting:
            yield waiting
