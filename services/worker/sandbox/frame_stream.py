"""The worker's end of the stream to a runtime process: START to every one; events and answers of those that serve themselves.

What comes from the other end is a function's word: every length is bounded, what it costs is counted (work_budget.py), an
answer to another event than the one that runs is dropped, and everything that is not in the table is a violation.
"""

from __future__ import annotations

import asyncio
import enum
import socket
from typing import Protocol

import msgspec

from services.worker.sandbox import protocol
from services.worker.sandbox.spec import Flow, InvalidInvocationError, ResponseStream, RuntimeInvocation, RuntimeResponse
from services.worker.sandbox.work_budget import BYTES_A_STEP, FRAME_STEPS, READ_STEPS, WorkBudget

STRAYS_MAX = 16
"""So many answers nobody asked for are a mistake of the function's; more are none."""
_READ_BYTES = 64 * 1024
_READ_BYTES_MAX = 1024 * 1024
_HEADER_BYTES = protocol.HEADER.size
_ANSWER_BYTES = _HEADER_BYTES + protocol.NUMBER.size


class RuntimeEvents(Protocol):
    """What a transport tells the sandbox, from the event loop."""

    def on_prepared(self) -> None: ...
    def on_ready(self) -> None: ...
    def on_next(self) -> None:
        """It asks for an event after another, as is seen where it speaks the Runtime API: nothing of that one is to come."""

    def on_response(self, response: RuntimeResponse) -> None: ...
    def on_stray(self) -> None:
        """An answer came that is not the one to the event that runs now: something of an earlier event is left."""

    def on_init_error(self, document: bytes) -> None: ...
    def on_stream(self, content_type: str, flow: Flow) -> ResponseStream | None:
        """The response comes in pieces: who takes them, None when nobody does and it is wanted whole."""

    def on_broken(self, reason: str) -> None: ...
    def on_violation(self, reason: str) -> None: ...


class State(enum.Enum):
    STARTED = "started"
    PREPARED = "prepared"
    READY = "ready"
    FAILED = "failed"


TABLE: dict[tuple[State, int], State] = {
    (State.STARTED, protocol.PREPARED): State.PREPARED,
    (State.STARTED, protocol.BROKEN): State.FAILED,
    (State.PREPARED, protocol.READY): State.READY,
    (State.PREPARED, protocol.INIT_ERROR): State.FAILED,
    (State.READY, protocol.RESULT): State.READY,
    (State.READY, protocol.ERROR): State.READY,
    (State.READY, protocol.TOO_LARGE): State.READY,
}
"""Which frame a runtime process may send when."""


class FrameStream:
    """untaken: the last event went to a process that ended before it had taken all of it."""

    def __init__(self, stream: socket.socket, events: RuntimeEvents, budget: WorkBudget) -> None:
        stream.setblocking(False)
        self._stream = stream
        self._fd = stream.fileno()
        self._events = events
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._state = State.STARTED
        self._serves = True
        self._number = 0
        self._running = False
        self._strays = 0
        self._partial = bytearray()
        self._unsent: memoryview | None = None
        self._open = True
        self.untaken = False
        self._loop.add_reader(self._fd, self._on_readable)

    def only_starts(self) -> None:
        """The process is served by the Runtime API: all that it says here is that it is prepared."""
        self._serves = False

    def start(self, message: dict[str, object]) -> None:
        """Send START."""
        self._write(protocol.frame(protocol.START, msgspec.json.encode(message)))

    def invoke(self, invocation: RuntimeInvocation) -> None:
        """Raises InvalidInvocationError, and has sent nothing, when a field does not fit."""
        number = self._number % protocol.NUMBER_MAX + 1
        try:
            frame = protocol.invoke_frame(
                number,
                invocation.request_id.encode(),
                invocation.invoked_arn.encode(),
                invocation.trace.encode() if invocation.trace else b"",
                invocation.client_context.encode() if invocation.client_context else b"",
                invocation.deadline_ms,
                invocation.payload,
            )
        except protocol.FieldTooLongError as error:
            raise InvalidInvocationError(str(error)) from error
        self._number = number
        self._running = True
        self._write(frame)

    def drain(self) -> None:
        """Read what is there already, after the process ended."""
        for _ in range(2 + protocol.FRAME_BYTES_MAX // _READ_BYTES):
            if not self._open or not self._read():
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
            self.untaken = True
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
            self.untaken = True
            self._unsent = self._unsent[:0]
        if not self._unsent:
            self._unsent = None
            self._loop.remove_writer(self._fd)

    def _on_readable(self) -> None:
        self._read()
        if self._open and self._budget.is_over():
            self._loop.remove_reader(self._fd)
            self._budget.wait(self._go_on)

    def _go_on(self) -> None:
        if not self._open:
            return
        self._take_frames()
        if not self._open:
            return
        if self._budget.is_over():
            self._budget.wait(self._go_on)
        else:
            self._loop.add_reader(self._fd, self._on_readable)

    def _read(self) -> bool:
        """False when nothing more is there now."""
        partial = self._partial
        try:
            data = self._stream.recv(_READ_BYTES if not partial else _READ_BYTES_MAX)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            # What the kernel says of a stream whose other end was closed before it was read to its end.
            self.untaken = True
            data = b""
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        self._budget.spend(READ_STEPS + len(data) // BYTES_A_STEP)
        if not partial and len(data) >= _HEADER_BYTES:
            length, kind = protocol.HEADER.unpack_from(data)
            if len(data) == _HEADER_BYTES + length:
                self._on_frame(kind, data, len(data))
                return True
        partial += data
        self._take_frames()
        return self._open

    def _take_frames(self) -> None:
        """Every frame that has come whole, or as many as the sandbox may send now."""
        partial = self._partial
        while self._open and len(partial) >= _HEADER_BYTES:
            length, kind = protocol.HEADER.unpack_from(partial)
            if length > protocol.FRAME_BYTES_MAX:
                partial.clear()
                self._violation("a frame of the runtime is too long")
                return
            end = _HEADER_BYTES + length
            if len(partial) < end:
                return
            self._on_frame(kind, partial, end)
            del partial[:end]
            if not self._budget.spend(FRAME_STEPS):
                return

    def _on_frame(self, kind: int, data: bytes | bytearray, end: int) -> None:
        """data: the frame, header and all, up to `end`."""
        following = TABLE.get((self._state, kind))
        if following is None or not (self._serves or self._state is State.STARTED):
            self._violation("the runtime sent a frame that makes no sense")
            return
        self._state = following
        if kind == protocol.READY:
            self._events.on_ready()
        elif following is State.READY:
            self._on_answer(kind, data, end)
        elif kind == protocol.PREPARED:
            self._events.on_prepared()
        elif kind == protocol.INIT_ERROR:
            self._events.on_init_error(bytes(data[_HEADER_BYTES:end]))
        else:
            self._events.on_broken(data[_HEADER_BYTES:end][:1000].decode("utf-8", "replace"))

    def _on_answer(self, kind: int, data: bytes | bytearray, end: int) -> None:
        if end < _ANSWER_BYTES:
            self._violation("an answer of the runtime is too short")
            return
        if not self._running or protocol.NUMBER.unpack_from(data, _HEADER_BYTES)[0] != self._number:
            self._on_stray()
            return
        body = bytes(memoryview(data)[_ANSWER_BYTES:end])
        if kind == protocol.RESULT:
            if len(body) > protocol.RESPONSE_BYTES_MAX:
                response = RuntimeResponse(b"", too_large_bytes=len(body))
            else:
                response = RuntimeResponse(body)
        elif kind == protocol.ERROR and body and len(body) > body[0]:
            response = RuntimeResponse(body[1 + body[0] :], error_type=body[1 : 1 + body[0]].decode("utf-8", "replace"))
        elif kind == protocol.TOO_LARGE and len(body) == protocol.SIZE.size:
            response = RuntimeResponse(b"", too_large_bytes=protocol.SIZE.unpack(body)[0])
        else:
            self._violation("an answer of the runtime makes no sense")
            return
        self._running = False
        self._events.on_response(response)

    def _on_stray(self) -> None:
        self._strays += 1
        if self._strays > STRAYS_MAX:
            self._violation("the runtime answers what it was not asked")
        else:
            self._events.on_stray()

    def _violation(self, reason: str) -> None:
        self.close()
        self._events.on_violation(reason)
