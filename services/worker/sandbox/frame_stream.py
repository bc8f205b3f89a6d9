"""The worker's end of the stream to a Python runtime: one event out, one answer in, on the event loop.

What comes from the other end is a function's word: every length is bounded and everything unexpected is a violation.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

import msgspec

from services.worker.sandbox import protocol
from services.worker.sandbox.spec import Flow, InvalidInvocationError, ResponseStream, RuntimeInvocation, RuntimeResponse

_READ_BYTES = 64 * 1024
_READ_BYTES_MAX = 1024 * 1024
_HEADER_BYTES = protocol.HEADER.size


class RuntimeEvents(Protocol):
    """What a transport tells the sandbox, from the event loop."""

    def on_prepared(self) -> None: ...
    def on_ready(self) -> None: ...
    def on_response(self, response: RuntimeResponse) -> None: ...
    def on_init_error(self, document: bytes) -> None: ...
    def on_stream(self, content_type: str, flow: Flow) -> ResponseStream | None:
        """The response comes in pieces: who takes them, None when nobody does and it is wanted whole."""

    def on_broken(self, reason: str) -> None: ...
    def on_violation(self, reason: str) -> None: ...


class FrameStream:
    def __init__(self, stream: socket.socket, events: RuntimeEvents) -> None:
        stream.setblocking(False)
        self._stream = stream
        self._fd = stream.fileno()
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._partial = bytearray()
        self._unsent: memoryview | None = None
        self._open = True
        self._loop.add_reader(self._fd, self._on_readable)

    def start(self, message: dict[str, object]) -> None:
        """Send START."""
        self._write(protocol.frame(protocol.START, msgspec.json.encode(message)))

    def invoke(self, invocation: RuntimeInvocation) -> None:
        """Raises InvalidInvocationError, and has sent nothing, when a field does not fit."""
        try:
            frame = protocol.invoke_frame(
                invocation.request_id.encode(),
                invocation.invoked_arn.encode(),
                invocation.trace.encode() if invocation.trace else b"",
                invocation.client_context.encode() if invocation.client_context else b"",
                invocation.deadline_ms,
                invocation.payload,
            )
        except protocol.FieldTooLongError as error:
            raise InvalidInvocationError(str(error)) from error
        self._write(frame)

    def drain(self) -> None:
        """Read what is there already, after the process ended."""
        for _ in range(2 + protocol.FRAME_BYTES_MAX // _READ_BYTES):
            if not self._open or not self._on_readable():
                return

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._stream.close()

    def _write(self, data: bytes) -> None:
        try:
            sent = self._stream.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # The process ended: its init says how.
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._loop.add_writer(self._fd, self._on_writable)

    def _on_writable(self) -> None:
        assert self._unsent is not None
        try:
            self._unsent = self._unsent[self._stream.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = self._unsent[:0]
        if not self._unsent:
            self._unsent = None
            self._loop.remove_writer(self._fd)

    def _on_readable(self) -> bool:
        """False when nothing more is there now."""
        partial = self._partial
        try:
            data = self._stream.recv(_READ_BYTES if not partial else _READ_BYTES_MAX)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        if not partial and len(data) >= _HEADER_BYTES:
            length, kind = protocol.HEADER.unpack_from(data)
            if len(data) == _HEADER_BYTES + length:
                self._on_frame(kind, data[_HEADER_BYTES:])
                return True
        partial += data
        while self._open and len(partial) >= _HEADER_BYTES:
            length, kind = protocol.HEADER.unpack_from(partial)
            if length > protocol.FRAME_BYTES_MAX:
                partial.clear()
                self._violation("a frame of the runtime is too long")
                return False
            if len(partial) < _HEADER_BYTES + length:
                return True
            body = bytes(memoryview(partial)[_HEADER_BYTES : _HEADER_BYTES + length])
            del partial[: _HEADER_BYTES + length]
            self._on_frame(kind, body)
        return True

    def _on_frame(self, kind: int, body: bytes) -> None:
        events = self._events
        if kind == protocol.RESULT:
            if len(body) > protocol.RESPONSE_BYTES_MAX:
                events.on_response(RuntimeResponse(b"", too_large_bytes=len(body)))
            else:
                events.on_response(RuntimeResponse(body))
        elif kind == protocol.ERROR and body and len(body) > body[0]:
            error_type = body[1 : 1 + body[0]].decode("utf-8", "replace")
            events.on_response(RuntimeResponse(body[1 + body[0] :], error_type=error_type))
        elif kind == protocol.TOO_LARGE and len(body) == protocol.SIZE.size:
            events.on_response(RuntimeResponse(b"", too_large_bytes=protocol.SIZE.unpack(body)[0]))
        elif kind == protocol.READY and not body:
            events.on_ready()
        elif kind == protocol.PREPARED and not body:
            events.on_prepared()
        elif kind == protocol.INIT_ERROR:
            events.on_init_error(body)
        elif kind == protocol.BROKEN:
            events.on_broken(body[:1000].decode("utf-8", "replace"))
        else:
            self._violation("the runtime sent a frame that makes no sense")

    def _violation(self, reason: str) -> None:
        self.close()
        self._events.on_violation(reason)
