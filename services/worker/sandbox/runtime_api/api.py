"""The API that one sandbox's processes find at AWS_LAMBDA_RUNTIME_API: connections, and which part answers what.

The wire is wire/, the parts are runtime/, extensions/ and telemetry/.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from services.worker.sandbox.runtime_api.runtime.calls import RuntimeCalls
from services.worker.sandbox.runtime_api.surface import Surface
from services.worker.sandbox.runtime_api.wire import replies
from services.worker.sandbox.runtime_api.wire.connection import HEADER_BYTES_MAX, Connection, Request
from services.worker.sandbox.work_budget import CONNECTION_STEPS, WorkBudget

CONNECTIONS_MAX = 40
"""A runtime, and ten extensions with more than one each."""
HEAD_BYTES_MAX = 2 * HEADER_BYTES_MAX
"""What the heads of all requests under way may take."""

Others = Callable[[str], Surface | None]
"""Finds what answers a path that is not the runtime's; None where nothing does."""


def no_others(path: str) -> Surface | None:
    return None


class SandboxApi:
    """Serves the listening socket that the sandbox's init made in the sandbox's own network.

    What the worker holds for it is bounded: one event on its way to the runtime, one answer on its way back, heads, and the
    small bodies of other calls."""

    def __init__(self, listener: socket.socket, runtime: RuntimeCalls, budget: WorkBudget, others: Others = no_others) -> None:
        listener.setblocking(False)
        self.runtime = runtime
        self._others = others
        self._parts: list[Surface] = [runtime]
        self._listener = listener
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._connections: dict[Connection, None] = {}
        self._head_bytes = 0
        self._loop.add_reader(listener, self._accept)

    def runtime_started(self) -> None:
        """A fresh runtime process: nothing of the last one's is left."""
        self._close_connections()
        self.runtime.restarted()

    def close(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
        for opening in self._opening:
            opening.cancel()
        self._close_connections()
        self._listener.close()

    def _close_connections(self) -> None:
        self.runtime.let_go()
        for connection in list(self._connections):
            connection.close()
        self._connections.clear()

    # Connections

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            # Without a descriptor left it stays at the door: it is not asked again at every turn of the loop.
            self._budget.spend(CONNECTION_STEPS)
        else:
            self._open(accepted)
        if self._budget.is_over():
            self._loop.remove_reader(self._listener)
            self._budget.wait(self._accept_again)

    def _open(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening: asyncio.Task[object] = self._loop.create_task(self._loop.connect_accepted_socket(self._connect, accepted))
        self._opening.add(opening)
        opening.add_done_callback(self._opened)

    def _accept_again(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _opened(self, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        if not opening.cancelled():
            opening.exception()  # It went away meanwhile.

    def _connect(self) -> Connection:
        if len(self._connections) >= CONNECTIONS_MAX:
            oldest = next(iter(self._connections))
            oldest.close()
            self._connections.pop(oldest, None)
        connection = Connection(self, self._budget)
        self._connections[connection] = None
        return connection

    def on_closed(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        for part in self._parts:
            part.on_closed(connection)

    def may_hold(self, more_bytes: int) -> bool:
        self._head_bytes += more_bytes
        return self._head_bytes <= HEAD_BYTES_MAX

    # Requests

    def on_head(self, connection: Connection, request: Request) -> None:
        surface = self._surface(request)
        if surface is not None:
            surface.on_head(connection, request)

    def on_request(self, connection: Connection, request: Request) -> None:
        surface = self._surface(request)
        try:
            if surface is None:
                raise replies.unknown_path()
            reply = surface.answer(connection, request)
        except replies.ApiError as failure:
            reply = replies.error(failure)
        if reply is not None:
            connection.reply(*((reply,) if isinstance(reply, bytes) else reply))

    def _surface(self, request: Request) -> Surface | None:
        """Whoever is asked for the first time hears of connections that close from then on."""
        if self.runtime.answers(request.path):
            return self.runtime
        found = self._others(request.path)
        if found is not None and found not in self._parts:
            self._parts.append(found)
        return found
