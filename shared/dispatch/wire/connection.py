"""The caller's end of the one connection to a worker: many invocations at once, each a stream with an answer to come."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, cast

from shared.dispatch.wire.addresses import dial
from shared.dispatch.wire.frames import (
    HANDSHAKE_FRAME_BYTES_MAX,
    Frame,
    FrameDecoder,
    Handshake,
    HandshakeError,
    Incoming,
    IncomingStream,
    Outgoing,
    decode_broken,
    decode_credit,
    decode_refused,
    decode_result,
    decode_settled,
    decode_stream,
    encode_credit,
    encode_frame,
    encode_invoke,
    encode_stop,
)
from shared.dispatch.wire.messages import (
    FRAME_BYTES_MAX,
    INLINE_PAYLOAD_BYTES_MAX,
    FrameType,
    InvokeHeader,
    Refusal,
    RefusalReason,
    ResultHeader,
    StopEnvironments,
    StreamHeader,
    WireError,
)
from shared.dispatch.wire.streaming import ResponseStream
from shared.domain.errors import InvocationLostError, ResponseLostError
from shared.domain.limits import RESPONSE_BYTES_MAX

log = logging.getLogger("lambdad.dispatch")

CANCEL_GRACE_S = 3.0
"""A worker answers a CANCEL within this time, or is taken for unable to."""
SWEEP_S = 0.25
PING_AFTER_S = 2.0
SILENT_S_MAX = 10.0
"""A worker that says nothing for this long, PONG included, while it runs something for us is taken for lost."""
RESPONSE_BYTES_BOUND = RESPONSE_BYTES_MAX + 64 * 1024
"""The worker judges a function's response; this only bounds what a worker can make a caller hold."""
_RESULT = int(FrameType.RESULT)
STREAM_LAST = 2**32 - 2
STOP_ENVIRONMENTS_MAX = 1_000

OnResult = Callable[[ResultHeader | None, bytes, Exception | None], None]
"""Gets an invocation's (result, response, None), or (None, b"", why there is none); exactly once, and it must not raise."""
IDLE, GONE, UNCERTAIN = b"i", b"g", b"b"
"""What becomes of an environment when an invocation has ended: leased again, forgotten, or left alone for a second."""


class Held(Protocol):
    """What its caller holds of an environment while it runs something there: a lease."""

    environment_id: str
    cold: bool


L = TypeVar("L", bound=Held)
OnEnd = Callable[[L, bytes], None]
"""Gets a lease back when its invocation ended, with what became of the environment; exactly once for each invocation, also
for one that could not be sent."""


class NotSentError(Exception):
    """The connection was closed before anything of the invocation was written: it can be sent elsewhere."""


class InvocationRefusedError(Exception):
    """The worker did not run it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Call(Generic[L]):
    """One invocation in flight. given_up_at: loop time at which CANCEL was sent. response: who reads it if the function streams
    it; streamed: it does."""

    __slots__ = ("deadline", "given_up_at", "incoming", "lease", "on_result", "outgoing", "response", "stream", "streamed")

    def __init__(self, lease: L, stream: int, on_result: OnResult, deadline: float, response: ResponseStream | None) -> None:
        self.lease = lease
        self.stream = stream
        self.on_result = on_result
        self.deadline = deadline
        self.given_up_at: float | None = None
        self.outgoing: Outgoing | None = None
        self.incoming: Incoming | None = None
        self.response = response
        self.streamed: IncomingStream | None = None


def environment_after(refusal: Refusal) -> bytes:
    """What a refusal says about the environment of the lease: the worker's word alone decides."""
    if refusal.gone:
        return GONE
    return IDLE if refusal.reason is RefusalReason.CANCELLED else UNCERTAIN


class WorkerConnection(asyncio.Protocol, Generic[L]):
    """Made by `connect`. Not usable any more once `closed`; a new one is made then."""

    def __init__(self, handshake: Handshake, on_end: OnEnd[L], on_lost: Callable[[WorkerConnection[L]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._handshake: Handshake | None = handshake
        self._decoder = FrameDecoder(HANDSHAKE_FRAME_BYTES_MAX)
        self._on_end = on_end
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._calls: dict[int, Call[L]] = {}
        self._next_stream = 1
        self._sweeping = False
        self._paused = False
        self._heard_at = self._loop.time()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.closed = False

    @classmethod
    async def connect(
        cls,
        address: str,
        *,
        secret: bytes,
        role: str,
        instance: str,
        timeout_s: float,
        on_end: OnEnd[L],
        on_lost: Callable[[WorkerConnection[L]], None],
        tls: ssl.SSLContext | None = None,
    ) -> WorkerConnection[L]:
        """Dial a worker's address and prove the secret both ways. Raises OSError, ValueError, TimeoutError, HandshakeError."""
        handshake = Handshake(secret, caller=True, role=role, instance=instance)
        async with asyncio.timeout(timeout_s):
            connection = await dial(address, lambda: cls(handshake, on_end, on_lost), timeout_s=timeout_s, tls=tls)
            try:
                await connection.ready
            except BaseException:
                connection.abort("the handshake did not end")
                raise
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self._handshake is not None
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._handshake.start())

    # -- what a caller does ------------------------------------------------------------------------------------------

    def invoke(
        self,
        lease: L,
        header: InvokeHeader,
        payload: bytes,
        timeout_s: float,
        on_result: OnResult,
        response: ResponseStream | None = None,
    ) -> Call[L]:
        """Send an invocation; on_result gets what came of it, or InvocationRefusedError (nothing ran), ResponseLostError (it
        ran) or InvocationLostError (that is unknown).

        After timeout_s the worker is told to cancel; if it does not answer that either, the invocation is lost.
        Raises NotSentError, or WireError for a header that is too large: nothing was sent, and the lease was given back."""
        stream = self._next_stream
        if stream > STREAM_LAST:
            self.abort("every stream of this connection was used")
        if self.closed or self._transport is None:
            self._on_end(lease, GONE if lease.cold else UNCERTAIN)
            raise NotSentError
        small = len(payload) <= INLINE_PAYLOAD_BYTES_MAX
        try:
            frame = encode_invoke(stream, header, payload if small else payload[:INLINE_PAYLOAD_BYTES_MAX])
        except BaseException:
            self._on_end(lease, GONE if lease.cold else IDLE)
            raise
        self._next_stream = stream + 1
        now = self._loop.time()
        call = Call(lease, stream, on_result, now + timeout_s, response)
        self._calls[stream] = call
        if len(self._calls) == 1:
            # Nobody else can be ready to share a write with: waiting a turn of the loop would only cost time.
            self._out.append(frame)
            self._flush()
        else:
            self._write(frame)
        if not small:
            call.outgoing = Outgoing(stream, payload, INLINE_PAYLOAD_BYTES_MAX)
            self._pump(call)
        if not self._sweeping:
            self._sweeping = True
            self._heard_at = now
            self._loop.call_later(SWEEP_S, self._sweep)
        return call

    def cancel(self, call: Call[L]) -> None:
        """Nobody waits for it any more. Its lease comes back when the worker has answered, or failed to."""
        if call.stream in self._calls and call.given_up_at is None:
            call.given_up_at = self._loop.time()
            call.outgoing = None
            self._write(encode_frame(FrameType.CANCEL, call.stream))

    def stop_environments(self, environment_ids: list[str]) -> None:
        """Tell the worker to stop idle environments."""
        for start in range(0, len(environment_ids), STOP_ENVIRONMENTS_MAX):
            self._write(encode_stop(StopEnvironments(tuple(environment_ids[start : start + STOP_ENVIRONMENTS_MAX]))))

    def abort(self, reason: str) -> None:
        """Close at once; everything in flight is lost."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def close(self) -> None:
        """Close after what was written has left."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
        self._end("the connection was closed")

    # -- what the worker sends ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            for frame in self._decoder.feed(data):
                if self._handshake is None:
                    self._receive(frame)
                else:
                    self._shake_hands(self._handshake, frame)
        except WireError as error:
            farewell = error.farewell if isinstance(error, HandshakeError) else b""
            if farewell:
                self._write(farewell)
                self._flush()
            if not self.ready.done():
                self.ready.set_exception(error)
            log.warning("a worker broke the protocol: %s", error)
            self.abort(f"the worker broke the protocol: {error}")

    def _shake_hands(self, handshake: Handshake, frame: Frame) -> None:
        self._write(handshake.receive(frame))
        if handshake.done:
            self._handshake = None
            self._decoder.frame_bytes_max = FRAME_BYTES_MAX
            if not self.ready.done():
                self.ready.set_result(None)

    def _receive(self, frame: Frame) -> None:
        kind, stream, body = frame
        if kind == _RESULT and stream in self._calls:
            self._receive_result(self._calls[stream], body)
            return
        if kind == FrameType.PONG:
            return
        if kind == FrameType.PING:
            self._write(encode_frame(FrameType.PONG, 0))
            return
        if stream == 0 or stream >= self._next_stream:
            raise WireError(f"frame type {kind} on stream {stream}, which was never opened")
        call = self._calls.get(stream)
        if call is None:
            return  # given up already
        if kind == FrameType.STREAM:
            self._begin_stream(call, decode_stream(body))
        elif kind == FrameType.DATA and call.streamed is not None:
            call.streamed.data(body)
            if call.response is not None:
                call.response.feed(body)
        elif kind == FrameType.DATA:
            if call.incoming is None:
                call.incoming = Incoming(RESPONSE_BYTES_BOUND)
            granted = call.incoming.data(body)
            if granted:
                self._write(encode_credit(stream, granted))
        elif kind == FrameType.CREDIT:
            granted = decode_credit(body)
            if call.outgoing is not None:
                call.outgoing.credit(granted)
                self._pump(call)
        elif kind == FrameType.REFUSED:
            refusal = decode_refused(body)
            self._finish(call, environment_after(refusal), InvocationRefusedError(refusal))
        elif kind == FrameType.SETTLED and call.on_result is _told:
            self._finish(call, IDLE if decode_settled(body).reusable else GONE, None)
        elif kind == FrameType.BROKEN:
            broken = decode_broken(body)
            self._finish(call, IDLE if broken.reusable else GONE, ResponseLostError(broken.detail))
        else:
            raise WireError(f"frame type {kind} from a worker")

    def _begin_stream(self, call: Call[L], header: StreamHeader) -> None:
        if call.response is None or call.streamed is not None or call.incoming is not None:
            raise WireError("a streamed response that nobody asked for, or in the middle of another")
        streamed = call.streamed = IncomingStream()

        def used(size: int) -> None:
            granted = streamed.used(size)
            if granted and self._calls.get(call.stream) is call:
                self._write(encode_credit(call.stream, granted))

        call.response.begin(header.content_type, used)

    def _receive_result(self, call: Call[L], body: bytes) -> None:
        header, last = decode_result(body)
        if call.incoming is not None:
            last = call.incoming.finish(last, header.payload_bytes)
        elif header.payload_bytes != len(last):
            raise WireError("a response of another size than announced")
        if header.settling:
            if call.on_result is _told:
                raise WireError("a second result")
            _tell(call, header, last, None)
            call.on_result = _told
            return
        del self._calls[call.stream]
        self._on_end(call.lease, IDLE if header.reusable else GONE)
        _tell(call, header, last, None)

    def _finish(self, call: Call[L], outcome: bytes, error: Exception | None) -> None:
        del self._calls[call.stream]
        self._on_end(call.lease, outcome)
        _tell(call, None, b"", error)

    # -- sending -----------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if data:
            if not self._out:
                self._loop.call_soon(self._flush)
            self._out.append(data)

    def _flush(self) -> None:
        # One write for all callers of a turn: system calls cost more than everything else here.
        out, self._out = self._out, []
        if out and self._transport is not None and not self.closed:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _pump(self, call: Call[L]) -> None:
        if call.outgoing is None or self._paused:
            return
        for frame in call.outgoing.frames():
            self._write(frame)
        if call.outgoing.done:
            call.outgoing = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        for call in list(self._calls.values()):
            self._pump(call)

    # -- time and the end --------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Deadlines are kept by one coarse timer, not by one for each invocation."""
        if not self._calls:
            self._sweeping = False
            return
        now = self._loop.time()
        for call in list(self._calls.values()):
            if call.given_up_at is None:
                if now > call.deadline:
                    self.cancel(call)
            elif now - call.given_up_at > CANCEL_GRACE_S:
                self.stop_environments([call.lease.environment_id])
                self._finish(call, GONE, InvocationLostError("the worker did not answer in time"))
        silent_s = now - self._heard_at
        if silent_s > SILENT_S_MAX:
            self.abort("the worker has gone silent")
        elif silent_s > PING_AFTER_S:
            self._write(encode_frame(FrameType.PING, 0))
        self._loop.call_later(SWEEP_S, self._sweep)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"the connection to the worker was lost{f': {error}' if error else ''}")

    def _end(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))
        # Read even where nobody waited for it any more.
        with contextlib.suppress(BaseException):
            self.ready.exception()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self._on_end(call.lease, UNCERTAIN)
            _tell(call, None, b"", InvocationLostError(reason))
        self._on_lost(self)


def _told(header: ResultHeader | None, response: bytes, error: Exception | None) -> None:
    """Whoever asked for it has its response; what is still in flight is the environment's."""


def _tell(call: Call[L], header: ResultHeader | None, response: bytes, error: Exception | None) -> None:
    """Whoever asked for it may be wrong; everybody else's invocations on the connection go on."""
    try:
        call.on_result(header, response, error)
    except Exception:
        log.exception("an invocation's end could not be dealt with")
