"""One invocation as a worker holds it, from the frame that asks for it to the frame that ends it."""

from __future__ import annotations

import asyncio

from services.worker.callers.streamed_response import Carrier, StreamedResponse
from services.worker.environment.environment import Environment
from shared.dispatch.wire.frames import Incoming, Outgoing, OutgoingStream
from shared.dispatch.wire.messages import InvokeHeader


class Run:
    """One stream: an event that arrives, its invocation, a response that leaves. holding: the environment is still its own;
    reusable: what became of it. settles: its answer says that the environment is not free yet, which is told later. answered:
    all of the answer is sent."""

    __slots__ = (
        "answered",
        "arrived",
        "cancelled",
        "environment",
        "header",
        "holding",
        "incoming",
        "outgoing",
        "payload",
        "progress",
        "reusable",
        "settles",
        "stream",
        "streamed",
        "task",
    )

    def __init__(self, stream: int, header: InvokeHeader, environment: Environment, first: bytes) -> None:
        self.stream = stream
        self.header = header
        self.environment = environment
        self.payload = first
        self.cancelled = False
        self.holding = True
        self.reusable = False
        self.settles = False
        self.answered = False
        self.incoming: Incoming | None = None
        self.arrived: asyncio.Event | None = None
        self.outgoing: Outgoing | OutgoingStream | None = None
        self.progress: asyncio.Event | None = None
        self.streamed: StreamedResponse | None = None
        self.task: asyncio.Task[None] | None = None
        if header.payload_bytes > len(first):
            self.incoming = Incoming(header.payload_bytes, first)
            self.arrived = asyncio.Event()

    def stream_to(self, carrier: Carrier) -> None:
        self.streamed = StreamedResponse(carrier, self.stream)
        self.outgoing = self.streamed.outgoing
        self.progress = asyncio.Event()

    def cancel(self) -> None:
        self.cancelled = True
        if self.holding and not self.settles:
            self.environment.cancel()
        if self.arrived is not None:
            self.arrived.set()
        if self.progress is not None:
            self.progress.set()
