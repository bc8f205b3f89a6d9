"""One caller's connection: its streams, and what each INVOKE ends in. Speaks shared/dispatch/wire/messages.py.

The connection is cut on the first frame that breaks the protocol. A warm invocation costs no task, and answers that are ready
in the same turn of the loop leave in one system call.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from typing import Protocol, cast

import msgspec
from prometheus_client import Counter

from services.worker.callers.run import Run
from services.worker.fleet import Fleet, StartRefusedError
from shared.dispatch.wire.frames import (
    HANDSHAKE_FRAME_BYTES_MAX,
    HANDSHAKE_TIMEOUT_S,
    Frame,
    FrameDecoder,
    Handshake,
    HandshakeError,
    Outgoing,
    OutgoingStream,
    decode_credit,
    decode_invoke,
    decode_stop,
    encode_broken,
    encode_credit,
    encode_frame,
    encode_refused,
    encode_result,
    encode_settled,
)
from shared.dispatch.wire.messages import (
    FRAME_BYTES_MAX,
    INLINE_PAYLOAD_BYTES_MAX,
    Broken,
    FrameType,
    Refusal,
    RefusalReason,
    ResultHeader,
    Settled,
    WireError,
)
from shared.domain.invocations import InvocationResult
from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX

log = logging.getLogger("lambdad.worker")

CONNECTIONS_MAX = 1_024
UNAUTHENTICATED_MAX = 64
WRITE_BUFFER_BYTES_MAX = 64 * 1024 * 1024
"""A caller that leaves more than this unread is cut off."""
STALL_TIMEOUT_S = 30.0
"""How long a caller may neither send the rest of an event nor take the rest of a response."""

_PING, _PONG, _DATA, _CREDIT = int(FrameType.PING), int(FrameType.PONG), int(FrameType.DATA), int(FrameType.CREDIT)
_INVOKE, _CANCEL, _STOP = int(FrameType.INVOKE), int(FrameType.CANCEL), int(FrameType.STOP)

VIOLATIONS = Counter("lambdad_worker_protocol_violations_total", "Connections cut because the peer broke the protocol")
BROKEN = Counter("lambdad_worker_broken_total", "Invocations that ran and whose response was not delivered whole")
REFUSED = Counter("lambdad_worker_refused_total", "Invocations refused", ["reason"])


class Owner(Protocol):
    """The server that a connection belongs to. running: invocations under way on all connections together."""

    fleet: Fleet
    running: int
    unauthenticated: int
    connections: set[CallerConnection]

    def handshake(self) -> Handshake: ...
    def run_begins(self) -> None: ...
    def run_ends(self) -> None: ...


class CallerConnection(asyncio.Protocol):
    def __init__(self, server: Owner) -> None:
        self._server = server
        self._fleet = server.fleet
        self._decoder = FrameDecoder(HANDSHAKE_FRAME_BYTES_MAX)
        self._handshake: Handshake | None = server.handshake()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._runs: dict[int, Run] = {}
        self._newest_stream = 0
        self._holder = ""
        self._out: list[bytes] = []
        self._writable = asyncio.Event()
        self._writable.set()
        self._loop = asyncio.get_running_loop()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        server = self._server
        if server.unauthenticated >= UNAUTHENTICATED_MAX or len(server.connections) >= CONNECTIONS_MAX:
            log.warning("a connection was turned away: too many are open")
            self._transport.abort()
            return
        server.connections.add(self)
        server.unauthenticated += 1
        self._transport.set_write_buffer_limits(high=4 * 1024 * 1024)
        self._deadline = self._loop.call_later(HANDSHAKE_TIMEOUT_S, self.close)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                if self._handshake is None:
                    self._take(frame)
                else:
                    self._shake_hands(self._handshake, frame)
        except HandshakeError as error:
            log.warning("a peer failed the handshake: %s", error)
            if self._transport is not None and error.farewell:
                self._transport.write(error.farewell)
            self.close()
        except WireError as error:
            VIOLATIONS.inc()
            log.warning("a peer (%s) broke the protocol: %s", self._holder or "unauthenticated", error)
            self.close()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        for run in self._runs.values():
            if run.streamed is not None:
                run.streamed.pump()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self._authentication_over()
        self._server.connections.discard(self)
        if self._runs:
            log.info("caller %s is gone: %d invocations are cancelled", self._holder, len(self._runs))
            self.cancel_all()

    def cancel_all(self) -> None:
        for run in self._runs.values():
            run.cancel()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # Frames

    def _shake_hands(self, handshake: Handshake, frame: Frame) -> None:
        answer = handshake.receive(frame)
        if answer:
            self._write(answer)
        if handshake.done:
            assert handshake.peer is not None
            self._holder = handshake.peer.instance
            self._decoder.frame_bytes_max = FRAME_BYTES_MAX
            self._handshake = None
            self._authentication_over()

    def _authentication_over(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._server.unauthenticated -= 1

    def _take(self, frame: Frame) -> None:
        kind, stream, body = frame
        if kind == _INVOKE:
            self._invoke(stream, body)
        elif kind == _PING:
            self._write(encode_frame(FrameType.PONG, stream, body[:64]))
        elif kind == _DATA:
            self._data(self._run_of(stream), body)
        elif kind == _CREDIT:
            self._credit(self._run_of(stream), decode_credit(body))
        elif kind == _CANCEL:
            run = self._run_of(stream)
            if run is not None:
                run.cancel()
        elif kind == _STOP:
            self._fleet.stop(decode_stop(body).environment_ids)
        elif kind != _PONG:
            raise WireError(f"frame type {kind} is not a caller's to send")

    def _run_of(self, stream: int) -> Run | None:
        """None for a stream that has ended: the caller may not know that yet."""
        run = self._runs.get(stream)
        if run is None and (stream > self._newest_stream or stream == 0):
            raise WireError(f"stream {stream} was never opened")
        return run

    def _invoke(self, stream: int, body: bytes) -> None:
        if stream <= self._newest_stream:
            raise WireError(f"stream {stream} is used twice or out of order")
        self._newest_stream = stream
        header, first = decode_invoke(body)
        if header.payload_bytes > SYNC_PAYLOAD_BYTES_MAX or len(first) > INLINE_PAYLOAD_BYTES_MAX:
            raise WireError(f"an event of {header.payload_bytes} bytes, {len(first)} of them inline")
        if header.deadline_ms < time.time() * 1e3:
            gone = header.spec is not None
            self._refuse(stream, Refusal(RefusalReason.CANCELLED, gone=gone, detail="the caller's deadline has passed"))
            return
        admitted = self._fleet.admit(header, self._holder)
        if isinstance(admitted, Refusal):
            self._refuse(stream, admitted)
            return
        run = Run(stream, header, admitted, first)
        self._runs[stream] = run
        self._server.run_begins()
        if run.incoming is None and not admitted.is_new:
            self._start(run)
        else:
            run.task = self._loop.create_task(self._prepare_and_start(run))

    def _data(self, run: Run | None, chunk: bytes) -> None:
        if run is None:
            return
        incoming = run.incoming
        if incoming is None or run.arrived is None:
            raise WireError("more of an event than was announced")
        granted = incoming.data(chunk)
        if incoming.size_bytes >= run.header.payload_bytes:
            run.payload = incoming.finish(b"", run.header.payload_bytes)
            run.incoming = None
            run.arrived.set()
        elif granted:
            self._write(encode_credit(run.stream, granted))

    def _credit(self, run: Run | None, granted: int) -> None:
        if run is None:
            return
        if run.outgoing is None or run.progress is None:
            raise WireError("credit for a response that does not need any")
        run.outgoing.credit(granted)
        run.progress.set()
        if run.streamed is not None:
            run.streamed.pump()

    # One invocation

    def _start(self, run: Run) -> None:
        """Its environment and the whole event are there: run it."""
        header, environment = run.header, run.environment
        try:
            if header.prepare and not environment.prepared:
                self._answer(run, environment.prepare())
                return
            if header.streamed:
                run.stream_to(self)
            environment.invoke(header, run.payload, functools.partial(self._on_end, run), run.streamed)
        except Exception:
            # It may have begun, so nobody may run it again, and what the environment does now is not known.
            environment.usable = False
            self._fail(run)

    async def _prepare_and_start(self, run: Run) -> None:
        try:
            refusal = await self._prepare(run)
        except Exception:
            log.exception("invocation %s was not started", run.header.request_id)
            run.environment.usable = False
            refusal = Refusal(RefusalReason.FAILED, gone=False, detail="the worker failed")
        if refusal is None:
            self._start(run)
            return
        try:
            if not refusal.gone and not self._finish(run):
                refusal = Refusal(refusal.reason, gone=True, detail=refusal.detail)
            self._refuse(run.stream, refusal)
        except Exception:
            self._fail(run)
            return
        self._end(run)

    def _on_end(self, run: Run, result: InvocationResult) -> None:
        if not run.holding:
            return  # It was given up.
        self._answer(run, result)

    def _answer(self, run: Run, result: InvocationResult) -> None:
        """Nothing escapes: whatever fails here is this invocation's failure alone."""
        run.payload = b""
        try:
            if run.environment.settling is None:
                run.reusable = self._finish(run)
            else:
                run.settles = True
                run.environment.settling.on_settled = functools.partial(self._on_settled, run)
            header = _result_header(result, run.reusable, run.settles)
            if header.payload_bytes > INLINE_PAYLOAD_BYTES_MAX or (run.streamed is not None and run.streamed.begun):
                run.task = self._loop.create_task(self._answer_in_pieces(run, header, result.payload))
                return
            self._write(encode_result(run.stream, header, result.payload))
        except Exception:
            self._fail(run)
            return
        self._end(run)

    async def _answer_in_pieces(self, run: Run, header: ResultHeader, payload: bytes) -> None:
        try:
            if run.streamed is not None and run.streamed.begun:
                await self._end_stream(run, header, payload)
            else:
                await self._respond_large(run, header, payload)
        except Exception:
            self._fail(run)
            return
        self._end(run)

    def _fail(self, run: Run) -> None:
        log.exception("invocation %s was not answered", run.header.request_id)
        run.settles = False
        if run.holding:
            run.reusable = self._finish(run)
        self._break(run, "the worker failed to answer")
        self._end(run)

    def _break(self, run: Run, detail: str) -> None:
        """It ran, and its response will not be whole."""
        BROKEN.inc()
        self._write(encode_broken(run.stream, Broken(run.reusable, detail)))

    def _on_settled(self, run: Run) -> None:
        if run.holding:
            run.reusable = self._finish(run)
        if run.answered:
            self._end(run)

    def _end(self, run: Run) -> None:
        """The answer is sent; what follows it where the environment is not free with it."""
        if run.settles:
            run.answered = True
            if run.holding:
                return
            self._write(encode_settled(run.stream, Settled(run.reusable)))
        if self._runs.pop(run.stream, None) is not None:
            self._server.run_ends()

    def _finish(self, run: Run) -> bool:
        run.holding = False
        return self._fleet.finish(run.environment)

    async def _prepare(self, run: Run) -> Refusal | None:
        """Have the environment and the whole event ready, or say why not."""
        environment = run.environment
        if environment.is_new:
            try:
                await self._fleet.start(environment)
            except StartRefusedError as error:
                return error.refusal
        if run.incoming is not None and run.arrived is not None and not run.cancelled:
            try:
                async with asyncio.timeout(STALL_TIMEOUT_S):
                    await run.arrived.wait()
            except TimeoutError:
                run.cancelled = True
        if run.cancelled:
            # A runtime that was stopped while it initialised is worth no place: the next start is as fast as its restart.
            environment.stop_when_done |= run.header.spec is not None
            return Refusal(RefusalReason.CANCELLED, gone=False)
        return None

    async def _respond_large(self, run: Run, header: ResultHeader, payload: bytes) -> None:
        inline_from = header.payload_bytes - INLINE_PAYLOAD_BYTES_MAX
        if await self._stream(run, Outgoing(run.stream, payload, 0, inline_from)):
            self._write(encode_result(run.stream, header, payload[inline_from:]))

    async def _end_stream(self, run: Run, header: ResultHeader, document: bytes) -> None:
        """RESULT behind what was streamed: an error document is as small as to be sent at once, or it is left out."""
        assert isinstance(run.outgoing, OutgoingStream)
        if len(document) > INLINE_PAYLOAD_BYTES_MAX:
            document = b""
        header = msgspec.structs.replace(header, payload_bytes=len(document))
        if await self._drain(run, run.outgoing):
            self._write(encode_result(run.stream, header, document))

    async def _stream(self, run: Run, outgoing: Outgoing) -> bool:
        """Send the first part of a large response as the caller's credit lets. False when it does not want it any more."""
        run.outgoing = outgoing
        run.progress = asyncio.Event()
        return await self._drain(run, outgoing)

    async def _drain(self, run: Run, outgoing: Outgoing | OutgoingStream) -> bool:
        assert run.progress is not None
        try:
            while True:
                for frame in outgoing.frames():
                    self._write(frame)
                async with asyncio.timeout(STALL_TIMEOUT_S):
                    await self._writable.wait()
                    if outgoing.done:
                        return True
                    await run.progress.wait()
                run.progress.clear()
                if run.cancelled or self._transport is None:
                    self._break(run, "the rest of the response was not waited for")
                    return False
        except TimeoutError:
            log.warning("caller %s does not take the response of %s", self._holder, run.header.request_id)
            if self._writable.is_set():
                self._break(run, "the response was not taken in time")
            else:
                self.close()
            return False

    @property
    def writable(self) -> bool:
        """False while the transport's buffer is full."""
        return self._writable.is_set()

    def send(self, frame: bytes) -> None:
        self._write(frame)

    def _refuse(self, stream: int, refusal: Refusal) -> None:
        REFUSED.labels(refusal.reason).inc()
        self._write(encode_refused(stream, refusal))

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._server.running > 1:
            if not self._out:
                self._loop.call_soon(self._flush)
            self._out.append(data)
        else:
            # Nothing else can be ready: waiting a turn of the loop would only cost time.
            self._out.append(data)
            self._flush()

    def _flush(self) -> None:
        """Everything that was ready in one turn of the loop leaves in one system call."""
        out, self._out = self._out, []
        transport = self._transport
        if transport is None or not out:
            return
        transport.write(out[0] if len(out) == 1 else b"".join(out))
        if not self._writable.is_set() and transport.get_write_buffer_size() > WRITE_BUFFER_BYTES_MAX:
            log.warning("caller %s reads nothing: cut off", self._holder)
            transport.abort()


def _result_header(result: InvocationResult, reusable: bool, settling: bool) -> ResultHeader:
    return ResultHeader(
        reusable,
        len(result.payload),
        result.function_error,
        result.log_tail,
        result.duration_ms,
        result.billed_ms,
        result.init_ms,
        result.max_memory_mb,
        settling,
    )
