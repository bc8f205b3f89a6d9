"""How the worker talks to a sandbox's runtime process: in frames on a stream, and by the Runtime API where it speaks that."""

from __future__ import annotations

import socket

from services.worker.sandbox.frame_stream import FrameStream, RuntimeEvents
from services.worker.sandbox.runtime_api.api import Others, SandboxApi
from services.worker.sandbox.runtime_api.runtime.calls import RuntimeCalls
from services.worker.sandbox.spec import RuntimeInvocation
from services.worker.sandbox.work_budget import WorkBudget


class RuntimeLink:
    """Every runtime process has a stream: START goes by it. Those that serve by themselves get their events by it too; others
    by the Runtime API. others: what else the API answers."""

    def __init__(self, events: RuntimeEvents, budget: WorkBudget, others: Others) -> None:
        self._events = events
        self._budget = budget
        self._others = others
        self._stream: FrameStream | None = None
        self._api: SandboxApi | None = None
        self._calls: RuntimeCalls | None = None

    def new_stream(self) -> socket.socket:
        """The far end of a stream for a runtime process that is about to start; the last one's is closed."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        if self._stream is not None:
            self._stream.close()
        if self._api is not None:
            self._api.runtime_started()
        self._stream = FrameStream(near, self._events, self._budget)
        if self._calls is not None:
            self._stream.only_starts()
        return far

    def serve_api(self, listener_fd: int, *, events: bool) -> None:
        """events: they go by it from now on."""
        calls = RuntimeCalls(self._events, serves=False)
        self._api = SandboxApi(socket.socket(fileno=listener_fd), calls, self._budget, self._others)
        if events:
            self.send_events_by_api()

    def send_events_by_api(self) -> None:
        assert self._api is not None
        self._calls = self._api.runtime
        self._calls.serves = True
        if self._stream is not None:
            self._stream.only_starts()

    @property
    def untaken(self) -> bool:
        """The last event went to a process that ended before it had taken all of it."""
        transport = self._calls or self._stream
        return transport is not None and transport.untaken

    def start(self, message: dict[str, object]) -> None:
        """Tell the runtime process what to become."""
        assert self._stream is not None
        self._stream.start(message)

    def invoke(self, invocation: RuntimeInvocation) -> None:
        """Raises InvalidInvocationError."""
        transport = self._calls or self._stream
        assert transport is not None
        transport.invoke(invocation)

    def drain(self) -> None:
        """Read what the runtime process wrote before it ended."""
        if self._stream is not None:
            self._stream.drain()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._api is not None:
            self._api.close()
