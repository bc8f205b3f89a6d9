"""Frames as bytes and back, the handshake and flow control, for both ends of a dispatch connection.

Nothing here does I/O: a protocol class feeds what it received and writes what it is given. Whatever a peer sends, the only
exception that comes out is `WireError` (then: close the connection). The protocol itself is described in docs/wire.md.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections import deque
from typing import TypeVar

import msgspec

from shared.dispatch.wire.messages import (
    FRAME_BYTES_MAX,
    INLINE_PAYLOAD_BYTES_MAX,
    PREFIX,
    PROTOCOL_VERSION,
    TEXT_CHARACTERS_MAX,
    U32,
    WINDOW_BYTES,
    Broken,
    FrameType,
    Hello,
    InvokeHeader,
    Refusal,
    ResultHeader,
    Settled,
    StopEnvironments,
    StreamHeader,
    WireError,
)

HANDSHAKE_FRAME_BYTES_MAX = 1_024
"""Before a peer is authenticated nothing larger than this is read from it."""
HANDSHAKE_TIMEOUT_S = 5.0
"""A peer that has not authenticated itself by then is cut off."""
NONCE_BYTES = 32

T = TypeVar("T")

Frame = tuple[int, int, bytes]
"""(type, stream, body); the type is always one of FrameType's values."""

_HEADED = struct.Struct(">IBII")
_TYPES = frozenset(int(kind) for kind in FrameType)
_encoder = msgspec.msgpack.Encoder()
_hello_decoder = msgspec.msgpack.Decoder(Hello)
_invoke_decoder = msgspec.msgpack.Decoder(InvokeHeader)
_result_decoder = msgspec.msgpack.Decoder(ResultHeader)
_refusal_decoder = msgspec.msgpack.Decoder(Refusal)
_stop_decoder = msgspec.msgpack.Decoder(StopEnvironments)
_broken_decoder = msgspec.msgpack.Decoder(Broken)
_settled_decoder = msgspec.msgpack.Decoder(Settled)
_stream_decoder = msgspec.msgpack.Decoder(StreamHeader)


class FrameDecoder:
    """Cuts a stream of bytes into frames. Holds at most one frame of `frame_bytes_max` and one read."""

    __slots__ = ("_buffer", "frame_bytes_max")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises WireError on a length out of bounds or an unknown type."""
        buffer = self._buffer
        source: bytes | bytearray = data
        if buffer:
            buffer += data
            source = buffer
        frames: list[Frame] = []
        offset, size = 0, len(source)
        while size - offset >= 9:
            length, kind, stream = PREFIX.unpack_from(source, offset)
            if length < 5 or length > self.frame_bytes_max:
                raise WireError(f"a frame of {length} bytes; 5 to {self.frame_bytes_max} are allowed")
            if kind not in _TYPES:
                raise WireError(f"unknown frame type {kind}")
            end = offset + 4 + length
            if end > size:
                break
            frames.append((kind, stream, bytes(source[offset + 9 : end])))
            offset = end
        if source is buffer:
            del buffer[:offset]
        elif offset < size:
            buffer += memoryview(data)[offset:]
        return frames


def encode_frame(kind: FrameType, stream: int, body: bytes = b"") -> bytes:
    """A whole frame without a header of its own (DATA, CANCEL, PING, ...)."""
    if len(body) + 5 > FRAME_BYTES_MAX:
        raise WireError(f"a frame of {len(body) + 5} bytes; at most {FRAME_BYTES_MAX} are allowed")
    return PREFIX.pack(len(body) + 5, kind, stream) + body


def _encode_headed(kind: FrameType, stream: int, header: msgspec.Struct, payload: bytes) -> bytes:
    packed = _encoder.encode(header)
    length = 9 + len(packed) + len(payload)
    if length > FRAME_BYTES_MAX:
        raise WireError(f"a frame of {length} bytes; at most {FRAME_BYTES_MAX} are allowed")
    return b"".join((_HEADED.pack(length, kind, stream, len(packed)), packed, payload))


def _split_headed(body: bytes) -> tuple[bytes, bytes]:
    if len(body) < 4:
        raise WireError("a frame too short for its header")
    (length,) = U32.unpack_from(body)
    if length > len(body) - 4:
        raise WireError("a header longer than its frame")
    return body[4 : 4 + length], body[4 + length :]


def encode_invoke(stream: int, header: InvokeHeader, first: bytes) -> bytes:
    """INVOKE with the first `INLINE_PAYLOAD_BYTES_MAX` bytes at most; header.payload_bytes is the whole payload's size."""
    trace, context = header.trace, header.client_context
    if (trace is not None and len(trace) > TEXT_CHARACTERS_MAX) or (context is not None and len(context) > TEXT_CHARACTERS_MAX):
        _check_texts(header)
    return _encode_headed(FrameType.INVOKE, stream, header, first)


def decode_invoke(body: bytes) -> tuple[InvokeHeader, bytes]:
    packed, first = _split_headed(body)
    header = _decode(_invoke_decoder, packed)
    if header.payload_bytes < len(first):
        raise WireError("INVOKE carries more than the payload's size")
    _check_texts(header)
    return header, first


def _check_texts(header: InvokeHeader) -> None:
    """What is said here is repeated to runtimes in fields of 16-bit lengths."""
    for text in (header.request_id, header.invoked_arn, header.trace, header.client_context):
        if text is not None and len(text) > TEXT_CHARACTERS_MAX:
            raise WireError(f"a text of {len(text)} characters in an INVOKE; at most {TEXT_CHARACTERS_MAX} are allowed")


def encode_result(stream: int, header: ResultHeader, last: bytes) -> bytes:
    """RESULT with the last bytes of the response; what was before them went as DATA."""
    return _encode_headed(FrameType.RESULT, stream, header, last)


def decode_result(body: bytes) -> tuple[ResultHeader, bytes]:
    packed, last = _split_headed(body)
    header = _decode(_result_decoder, packed)
    if header.payload_bytes < len(last):
        raise WireError("RESULT carries more than the response's size")
    return header, last


def encode_refused(stream: int, refusal: Refusal) -> bytes:
    return encode_frame(FrameType.REFUSED, stream, _encoder.encode(refusal))


def decode_refused(body: bytes) -> Refusal:
    return _decode(_refusal_decoder, body)


def encode_broken(stream: int, broken: Broken) -> bytes:
    return encode_frame(FrameType.BROKEN, stream, _encoder.encode(broken))


def decode_broken(body: bytes) -> Broken:
    return _decode(_broken_decoder, body)


def encode_settled(stream: int, settled: Settled) -> bytes:
    return encode_frame(FrameType.SETTLED, stream, _encoder.encode(settled))


def decode_settled(body: bytes) -> Settled:
    return _decode(_settled_decoder, body)


def encode_stop(stop: StopEnvironments) -> bytes:
    return encode_frame(FrameType.STOP, 0, _encoder.encode(stop))


def decode_stop(body: bytes) -> StopEnvironments:
    return _decode(_stop_decoder, body)


def encode_stream(stream: int, header: StreamHeader) -> bytes:
    return encode_frame(FrameType.STREAM, stream, _encoder.encode(header))


def decode_stream(body: bytes) -> StreamHeader:
    return _decode(_stream_decoder, body)


def encode_credit(stream: int, granted_bytes: int) -> bytes:
    return encode_frame(FrameType.CREDIT, stream, U32.pack(granted_bytes))


def decode_credit(body: bytes) -> int:
    if len(body) != 4:
        raise WireError("CREDIT is four bytes")
    (granted,) = U32.unpack(body)
    return int(granted)


def _decode(decoder: msgspec.msgpack.Decoder[T], packed: bytes) -> T:
    try:
        return decoder.decode(packed)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise WireError(f"a header that cannot be read: {error}") from error


class _Credit:
    """How much DATA the peer still takes on a stream."""

    __slots__ = ("_window",)

    def __init__(self) -> None:
        self._window = WINDOW_BYTES

    def credit(self, granted_bytes: int) -> None:
        """Take a CREDIT frame's grant. Raises WireError when the peer grants more than a window at once."""
        if granted_bytes < 1 or self._window + granted_bytes > WINDOW_BYTES:
            raise WireError(f"a credit of {granted_bytes} bytes on a window of {self._window}")
        self._window += granted_bytes


class Outgoing(_Credit):
    """The part of one payload that goes as DATA: as much as the peer's credit lets, the rest when CREDIT comes.

    A caller sends `INVOKE(payload[:INLINE_PAYLOAD_BYTES_MAX])`, then Outgoing(stream, payload, INLINE_PAYLOAD_BYTES_MAX).
    A worker sends Outgoing(stream, response, 0, len(response) - INLINE_PAYLOAD_BYTES_MAX), then RESULT with what is left.
    """

    __slots__ = ("_end", "_offset", "_payload", "_stream")

    def __init__(self, stream: int, payload: bytes, start: int, end: int | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._payload = payload
        self._offset = start
        self._end = len(payload) if end is None else end

    @property
    def done(self) -> bool:
        return self._offset >= self._end

    def frames(self) -> list[bytes]:
        """The DATA frames that may be sent now; asked again after each `credit` until `done`."""
        ready: list[bytes] = []
        while self._offset < self._end and self._window > 0:
            size = min(INLINE_PAYLOAD_BYTES_MAX, self._end - self._offset, self._window)
            ready.append(encode_frame(FrameType.DATA, self._stream, self._payload[self._offset : self._offset + size]))
            self._offset += size
            self._window -= size
        return ready


class OutgoingStream(_Credit):
    """A response that is sent while it is written. What the peer has no credit for waits; whoever feeds it bounds that."""

    __slots__ = ("_stream", "_waiting")

    def __init__(self, stream: int) -> None:
        super().__init__()
        self._stream = stream
        self._waiting: deque[bytes] = deque()

    @property
    def done(self) -> bool:
        """Whether everything fed so far has left."""
        return not self._waiting

    def feed(self, data: bytes) -> None:
        if data:
            self._waiting.append(data)

    def frames(self) -> list[bytes]:
        """The DATA frames that may be sent now."""
        ready: list[bytes] = []
        while self._waiting and self._window > 0:
            data = self._waiting.popleft()
            size = min(INLINE_PAYLOAD_BYTES_MAX, len(data), self._window)
            if size < len(data):
                self._waiting.appendleft(data[size:])
            ready.append(encode_frame(FrameType.DATA, self._stream, data[:size]))
            self._window -= size
        return ready


class _Granted:
    """How much DATA the peer may still send on a stream, and what of it was used up and not granted again yet."""

    __slots__ = ("_ungranted", "_window")

    def __init__(self) -> None:
        self._window = WINDOW_BYTES
        self._ungranted = 0

    def _take(self, size: int) -> None:
        """Raises WireError on a frame that is empty, oversized or more than the window."""
        if size == 0 or size > INLINE_PAYLOAD_BYTES_MAX or size > self._window:
            raise WireError(f"{size} bytes of DATA on a window of {self._window}")
        self._window -= size

    def used(self, size: int) -> int:
        """`size` bytes were dealt with: the CREDIT to send now, 0 for none yet."""
        self._ungranted += size
        if self._ungranted * 2 < WINDOW_BYTES:
            return 0
        granted, self._ungranted = self._ungranted, 0
        self._window += granted
        return granted


class IncomingStream(_Granted):
    """A response that is handed on piece by piece: counted here, kept by whoever takes it until it calls `used`."""

    __slots__ = ()

    def data(self, chunk: bytes) -> None:
        """Raises WireError on a peer that sends an empty or oversized frame, or more than its window."""
        self._take(len(chunk))


class Incoming(_Granted):
    """Collects the DATA of one payload, bounded by `bytes_max` and by the window given to the peer."""

    __slots__ = ("_bytes_max", "_chunks", "size_bytes")

    def __init__(self, bytes_max: int, first: bytes = b"") -> None:
        super().__init__()
        self._bytes_max = bytes_max
        self._chunks = [first] if first else []
        self.size_bytes = len(first)
        if self.size_bytes > bytes_max:
            raise WireError(f"a payload over {bytes_max} bytes")

    def data(self, chunk: bytes) -> int:
        """Take a DATA frame's body; returns the CREDIT to send now, 0 for none yet. Raises WireError on a peer that
        sends an empty or oversized frame, more than its window or more than the bound."""
        self._take(len(chunk))
        self._add(chunk)
        return self.used(len(chunk))

    def finish(self, last: bytes, size_bytes: int) -> bytes:
        """The whole payload, after its last bytes. Raises WireError unless it has exactly the size announced."""
        if last:
            self._add(last)
        if self.size_bytes != size_bytes:
            raise WireError(f"a payload of {self.size_bytes} bytes; {size_bytes} were announced")
        return b"".join(self._chunks)

    def _add(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        if self.size_bytes > self._bytes_max:
            raise WireError(f"a payload over {self._bytes_max} bytes")
        self._chunks.append(chunk)


class HandshakeError(WireError):
    """The handshake failed. farewell: bytes to send before closing, so that the other end can say why too."""

    def __init__(self, message: str, farewell: bytes = b"") -> None:
        super().__init__(message)
        self.farewell = farewell


class Handshake:
    """Mutual proof of the cluster secret: HELLO and AUTH from both ends; the caller begins, the worker proves itself last.

    Feed frames to `receive` until `done`, sending what it returns; a caller first sends `start()`. Each AUTH is an HMAC
    over its sender's part and both whole HELLO bodies, so neither a replayed, a reflected nor a downgraded one is taken.
    """

    def __init__(self, secret: bytes, *, caller: bool, role: str, instance: str) -> None:
        if not secret:
            raise ValueError("the cluster secret is empty: an unauthenticated worker would run anyone's code")
        self._secret = secret
        self._caller = caller
        self._mine = _encoder.encode(Hello(PROTOCOL_VERSION, role, instance, os.urandom(NONCE_BYTES)))
        self._theirs = b""
        self.peer: Hello | None = None
        self.done = False

    def start(self) -> bytes:
        """What a caller sends first."""
        return encode_frame(FrameType.HELLO, 0, self._mine)

    def receive(self, frame: Frame) -> bytes:
        """Bytes to answer with (may be empty). Raises HandshakeError: send its `farewell`, then close."""
        kind, stream, body = frame
        expected = FrameType.HELLO if self.peer is None else FrameType.AUTH
        if kind != expected or stream != 0 or self.done:
            raise HandshakeError(f"frame type {kind} where {expected.name} belongs")
        return self._receive_hello(body) if self.peer is None else self._receive_auth(body)

    def _receive_hello(self, body: bytes) -> bytes:
        answer = b"" if self._caller else self.start()
        try:
            hello = _decode(_hello_decoder, body)
        except WireError as error:
            raise HandshakeError(str(error)) from error
        if hello.protocol != PROTOCOL_VERSION:
            raise HandshakeError(f"the peer speaks protocol {hello.protocol}, not {PROTOCOL_VERSION}", answer)
        if len(hello.nonce) != NONCE_BYTES:
            raise HandshakeError("a nonce of the wrong size")
        self.peer, self._theirs = hello, body
        return encode_frame(FrameType.AUTH, 0, self._proof(self._caller)) if self._caller else answer

    def _receive_auth(self, body: bytes) -> bytes:
        if not hmac.compare_digest(body, self._proof(not self._caller)):
            raise HandshakeError("the peer does not hold this cluster's secret")
        self.done = True
        return b"" if self._caller else encode_frame(FrameType.AUTH, 0, self._proof(False))

    def _proof(self, of_caller: bool) -> bytes:
        caller, worker = (self._mine, self._theirs) if self._caller else (self._theirs, self._mine)
        part = b"lambdad caller" if of_caller else b"lambdad worker"
        message = b"".join((part, U32.pack(len(caller)), caller, U32.pack(len(worker)), worker))
        return hmac.new(self._secret, message, hashlib.sha256).digest()
