"""How every part of the frontend reads a request: claim, body, hash, proof, chunks, in this order, and who asks.

A small request that came whole is read at once, by a plain call. One whose body is late, large or in chunks is claimed first,
so that a stranger is refused before the body is read, and then awaited.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from services.frontend.edge.answers import LARGE_BYTES
from services.frontend.edge.bodies import BodyReader, Receive, declared_length
from services.frontend.edge.homes import Homes
from services.frontend.edge.http_protocol import EXCHANGE
from services.frontend.edge.identity import NOBODY, Caller, Callers
from shared.aws.signatures.chunked_payload import wire_bytes_max
from shared.aws.signatures.claims import region_named
from shared.aws.signatures.passing_chunks import PassingChunks
from shared.aws.signatures.sigv4 import UNSIGNED_PAYLOAD, Claim, Expected, Verifier, is_sha256, payload_hash
from shared.domain.arns import Home
from shared.domain.errors import ApiError

Scope = Mapping[str, Any]


class Limit(msgspec.Struct, frozen=True):
    """The largest body that is taken, and what a larger one is answered, given its size in bytes."""

    size_bytes: int
    too_large: Callable[[int], ApiError]


class SignedRequest(msgspec.Struct, frozen=True):
    """A whole request, its signature proven where signatures are checked.

    home: the account's in the region that it is for. headers: by lower-case name. body: out of its chunks. complete_at: when
    all of it was there, by time.perf_counter().
    """

    raw_path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    caller: Caller
    home: Home
    complete_at: float


class RequestReader:
    """verifier: None when signatures are not checked; then whoever asks is the account itself."""

    def __init__(self, verifier: Verifier | None, bodies: BodyReader, callers: Callers, homes: Homes) -> None:
        self._verifier = verifier
        self._bodies = bodies
        self._callers = callers
        self._homes = homes

    @property
    def checks_signatures(self) -> bool:
        return self._verifier is not None

    def whole(self, scope: Scope, body: bytes) -> SignedRequest | None:
        """The request whose whole body this is; None for a body in chunks, which is to be claimed and read.

        body: small, for it is hashed at once. Raises AuthError.
        """
        complete_at = time.perf_counter()
        raw_path, query = scope["raw_path"], scope["query_string"]
        verifier = self._verifier
        if verifier is None:
            headers = dict(scope["headers"])
            home = self._homes.named(region_named(headers.get(b"authorization", b""), query))
            return SignedRequest(raw_path, query, headers, body, self._callers.of("", None), home, complete_at)
        claim = verifier.claim(scope["headers"], query)
        if claim.chunked is not None:
            return None
        verifier.prove(claim, scope["method"].encode(), raw_path, query, payload_hash(claim, body))
        _prove_connection(scope)
        home = self._homes.named(claim.scope.region)
        return SignedRequest(raw_path, query, claim.values, body, self._caller(claim), home, complete_at)

    def claim(self, scope: Scope, expected: Expected | None = None) -> ClaimedRequest:
        """The request without its body. expected: what its signature has to be for, Lambda by default.

        Raises AuthError for one that is not signed, or not properly."""
        verifier = self._verifier
        if verifier is None:
            return ClaimedRequest(scope, self._bodies, self._callers.of("", None), self._homes)
        claim = verifier.claim(scope["headers"], scope["query_string"], expected)
        return ClaimedRequest(scope, self._bodies, self._caller(claim), self._homes, verifier, claim)

    def unsigned(self, scope: Scope) -> ClaimedRequest:
        """A request that anybody may make: a signature that it has is not looked at."""
        return ClaimedRequest(scope, self._bodies, NOBODY, self._homes)

    def _caller(self, claim: Claim) -> Caller:
        return self._callers.of(claim.scope.access_key_id, claim.token)


class ClaimedRequest:
    """A request whose signature is well-formed and of a known key. caller: to be believed once the request was read."""

    def __init__(
        self,
        scope: Scope,
        bodies: BodyReader,
        caller: Caller,
        homes: Homes,
        verifier: Verifier | None = None,
        claim: Claim | None = None,
    ) -> None:
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"]) if claim is None else claim.values
        self.caller = caller
        self._homes = homes
        self._scope = scope
        self._bodies = bodies
        self._verifier = verifier
        self._claim = claim

    @property
    def unsigned(self) -> bool:
        """Signatures are not checked, or need not be."""
        return self._claim is None

    @property
    def region(self) -> str:
        """What the signature is for, served or not; the default region where it does not say, or nothing that is a name."""
        named = self._region
        return named.decode() if named and named.isascii() else self._homes.default.region

    @property
    def _region(self) -> bytes:
        if self._claim is not None:
            return self._claim.scope.region
        return region_named(self.headers.get(b"authorization", b""), self._scope["query_string"])

    @property
    def payload_hash(self) -> bytes | None:
        """What the client says of its body: a hash, or one of the constants that stand for none."""
        if self._claim is not None:
            return self._claim.payload_hash
        return self.headers.get(b"x-amz-content-sha256")

    @property
    def names_its_payload(self) -> bool:
        """Whether the signature can be proven without the body."""
        return self._claim is not None and (self._claim.payload_hash is not None or self._claim.presigned)

    def prove_named(self) -> bytes | None:
        """For a body that is read by somebody else, piece by piece: proves the signature with what the client says of the body.

        -> the SHA-256 that the body must have, to be checked by whoever reads it; None where the signature leaves it open.
        Raises AuthError.
        """
        claim, verifier, scope = self._claim, self._verifier, self._scope
        if claim is None or verifier is None:
            return None
        named = claim.payload_hash or UNSIGNED_PAYLOAD
        verifier.prove(claim, scope["method"].encode(), scope["raw_path"], scope["query_string"], named)
        _prove_connection(scope)
        return named if is_sha256(named) else None

    def passing_chunks(self) -> PassingChunks | None:
        """What proves the signed chunks of a body that is read by somebody else; None where its chunks are not signed."""
        return None if self._claim is None or self._verifier is None else self._verifier.passing_chunks(self._claim)

    async def read(self, receive: Receive, limit: Limit) -> SignedRequest:
        """The whole request. Raises what `limit` makes of a body that is too large, AuthError, InvalidRequestContentException
        (chunks), TooManyRequestsException, ClientGoneError."""
        claim, size_bytes_max = self._claim, limit.size_bytes
        chunked = claim is not None and claim.chunked is not None
        declared = declared_length(self.headers.get(b"content-length"))
        wire_max = wire_bytes_max(size_bytes_max) if chunked else size_bytes_max
        body = await self._bodies.read(receive, declared, wire_max, limit.too_large)
        complete_at = time.perf_counter()
        if claim is not None and self._verifier is not None:
            body = await self._proven(self._verifier, claim, body)
            if len(body) > size_bytes_max:
                raise limit.too_large(len(body))
        scope = self._scope
        home = self._homes.named(self._region)
        return SignedRequest(scope["raw_path"], scope["query_string"], self.headers, body, self.caller, home, complete_at)

    async def _proven(self, verifier: Verifier, claim: Claim, body: bytes) -> bytes:
        scope = self._scope
        hashed = await asyncio.to_thread(payload_hash, claim, body) if len(body) > LARGE_BYTES else payload_hash(claim, body)
        verifier.prove(claim, scope["method"].encode(), scope["raw_path"], scope["query_string"], hashed)
        _prove_connection(scope)
        return body if claim.chunked is None else await asyncio.to_thread(verifier.payload, claim, body)


def _prove_connection(scope: Scope) -> None:
    exchange = scope.get(EXCHANGE)
    if exchange is not None:
        exchange.prove()
