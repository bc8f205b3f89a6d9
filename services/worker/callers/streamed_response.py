"""A response on its way to the caller while the runtime writes it."""

from __future__ import annotations

from typing import Protocol

from services.worker.sandbox.spec import Flow
from shared.dispatch.wire.frames import OutgoingStream, encode_stream
from shared.dispatch.wire.messages import StreamHeader


class Carrier(Protocol):
    """The caller's connection. writable: False while its buffer is full."""

    @property
    def writable(self) -> bool: ...

    def send(self, frame: bytes) -> None: ...


class StreamedResponse:
    """Implements `spec.ResponseStream`. The runtime waits while its caller has given no credit for what it has written, or
    takes nothing off the connection: no more is held here than was read from the runtime at once."""

    def __init__(self, carrier: Carrier, stream: int) -> None:
        self.outgoing = OutgoingStream(stream)
        self._carrier = carrier
        self._stream = stream
        self._flow: Flow | None = None
        self._paused = False

    @property
    def begun(self) -> bool:
        return self._flow is not None

    def begin(self, content_type: str, flow: Flow) -> None:
        self._flow = flow
        self._carrier.send(encode_stream(self._stream, StreamHeader(content_type)))

    def write(self, data: bytes) -> None:
        self.outgoing.feed(data)
        self.pump()

    def pump(self) -> None:
        """Send what may be sent, and let the runtime go on or wait."""
        for frame in self.outgoing.frames():
            self._carrier.send(frame)
        wait = not self.outgoing.done or not self._carrier.writable
        if self._flow is not None and wait != self._paused:
            self._paused = wait
            if wait:
                self._flow.pause()
            else:
                self._flow.resume()
