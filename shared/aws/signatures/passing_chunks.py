"""A body in signed chunks that passes piece by piece: each chunk's signature is proven as its end comes by, and nothing is kept
but the chunk's hash. `chunked_payload` does the same for a body that is at hand.
"""

from __future__ import annotations

import enum
import hashlib

from shared.aws.signatures.chunked_payload import (
    CHUNK,
    LINE_BYTES_MAX,
    SIGNED_TRAILER,
    TRAILERS_MAX,
    Seed,
    broken,
    prove_chunk,
    prove_trailers,
    trailers_of,
)

_TRAILER_BYTES_MAX = TRAILERS_MAX * LINE_BYTES_MAX


class _Within(enum.Enum):
    HEAD = 1
    """The line with a chunk's size and signature."""
    DATA = 2
    END = 3
    """The line break behind a chunk."""
    TRAILER = 4
    """All that comes behind the last chunk."""


class PassingChunks:
    def __init__(self, form: bytes, seed: Seed) -> None:
        self._form = form
        self._seed = seed
        self._previous = seed.signature
        self._within = _Within.HEAD
        self._begun = b""
        self._left = 0
        self._claimed = b""
        self._hash = hashlib.sha256()

    def feed(self, piece: bytes) -> None:
        """Raises AuthError for a chunk that is not the signer's, InvalidRequestContentException for what is no chunk."""
        while piece:
            if self._within is _Within.DATA:
                data, piece = piece[: self._left], piece[self._left :]
                self._hash.update(data)
                self._left -= len(data)
                if self._left == 0:
                    self._prove()
                    self._within = _Within.END
            elif self._within is _Within.TRAILER:
                self._begun += piece
                if len(self._begun) > _TRAILER_BYTES_MAX:
                    raise broken("its trailer is too long")
                return
            else:
                piece = self._line(piece)

    def finish(self) -> None:
        """At the body's end. Raises AuthError, InvalidRequestContentException."""
        if self._within is not _Within.TRAILER:
            raise broken("it ends within a chunk")
        trailers, signature = trailers_of(self._begun, 0)
        if self._form == SIGNED_TRAILER:
            prove_trailers(self._seed, self._previous, trailers, signature)
        elif trailers or signature is not None:
            raise broken("it has a trailer that was not announced")

    def _line(self, piece: bytes) -> bytes:
        """Takes what belongs to a line, and what it says once it is whole. -> the rest."""
        before = len(self._begun)
        line, found, _ = (self._begun + piece[: LINE_BYTES_MAX + 2]).partition(b"\r\n")
        if len(line) > LINE_BYTES_MAX:
            raise broken("a line has no end")
        if not found:
            self._begun = line
            return b""
        self._begun = b""
        if self._within is _Within.END:
            if line:
                raise broken("a chunk is longer than its size says")
            self._within = _Within.HEAD
        else:
            self._begin(line)
        return piece[len(line) + 2 - before :]

    def _begin(self, line: bytes) -> None:
        matched = CHUNK.fullmatch(line)
        if matched is None or matched[2] is None:
            raise broken("a chunk does not begin with its size and signature")
        self._left, self._claimed = int(matched[1], 16), matched[2]
        self._hash = hashlib.sha256()
        if self._left == 0:
            self._prove()
            self._within = _Within.TRAILER
        else:
            self._within = _Within.DATA

    def _prove(self) -> None:
        self._previous = prove_chunk(self._seed, self._previous, self._hash.hexdigest().encode(), self._claimed)
