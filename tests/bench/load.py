"""The load generator: a process of its own that signs its requests, and then sends each once over keep-alive connections.

It costs about ten microseconds a request, a few times less than the cheapest server beside it, and is the same for every peer. One
job as JSON on stdin, one result as JSON on stdout; `tests.bench.measure` is the other end. Each connection has one request under
way at a time: the load is closed-loop.
"""

from __future__ import annotations

import base64
import gc
import json
import select
import socket
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.bench.signing import Calls, Endpoint, requests

HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
READ_BYTES = 256 * 1024
RECONNECTS_MAX = 50
CONNECT_TIMEOUT_S = 5.0
DRAIN_S = 30.0
"""After the last request was sent: what is not answered by then is lost."""
FAILURES_SHOWN = 3


class Client:
    """One connection. answer: what has come of the answer that is waited for."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.socket = socket.create_connection((endpoint.host, endpoint.port), CONNECT_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.answer = b""
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        if self.socket.send(request) != len(request):
            raise RuntimeError("a request does not fit into the socket's buffer")


class Load:
    """until: after it (by time.perf_counter()) no request is sent; infinite: until all were sent."""

    def __init__(self, endpoint: Endpoint, ready: Iterator[bytes], clients: int, until: float) -> None:
        self._endpoint = endpoint
        self._ready = ready
        self._until = until
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}
        self.latencies_s = array("f")
        self.statuses: Counter[str] = Counter()
        self.failures: list[str] = []
        self.reconnects = 0
        self.last_answer = 0.0
        for _ in range(clients):
            self._connect()

    def _connect(self) -> None:
        client = Client(self._endpoint)
        self._clients[client.socket.fileno()] = client
        self._epoll.register(client.socket, select.EPOLLIN)
        self._next(client)

    def run(self, deadline: float) -> None:
        clients, poll, clock = self._clients, self._epoll.poll, time.perf_counter
        while clients and clock() < deadline:
            for number, _ in poll(1.0):
                client = clients[number]
                try:
                    data = client.socket.recv(READ_BYTES)
                except ConnectionError:
                    data = b""
                if not data:
                    self._lost(client)
                    continue
                answer = client.answer = client.answer + data if client.answer else data
                if is_whole(answer):
                    self._answered(client, answer, clock())
        self.statuses["not answered"] += len(clients)
        if not clients:
            del self.statuses["not answered"]

    def _answered(self, client: Client, answer: bytes, now: float) -> None:
        self.latencies_s.append(now - client.sent_at)
        self.last_answer = now
        status = answer[9:12].decode()
        if b"x-amz-function-error" in answer.partition(HEAD_END)[0].lower():
            status += " function error"
        self.statuses[status] += 1
        if status not in ("200", "202") and len(self.failures) < FAILURES_SHOWN:
            self.failures.append(answer[:1000].decode(errors="replace"))
        client.answer = b""
        self._next(client)

    def _next(self, client: Client) -> None:
        request = next(self._ready, None) if time.perf_counter() < self._until else None
        if request is None:
            self._close(client)
        else:
            try:
                client.send(request)
            except ConnectionError:
                self._lost(client)

    def _lost(self, client: Client) -> None:
        """A server that closes the connection is dialled again; what was under way is lost."""
        self.statuses["connection lost"] += 1
        self._close(client)
        self.reconnects += 1
        if self.reconnects <= RECONNECTS_MAX:
            self._connect()

    def _close(self, client: Client) -> None:
        self._clients.pop(client.socket.fileno(), None)
        self._epoll.unregister(client.socket)
        client.socket.close()


def is_whole(answer: bytes) -> bool:
    """Whether an answer's body is all there, by its head."""
    head_end = answer.find(HEAD_END)
    if head_end < 0:
        return False
    head = answer[:head_end].lower()
    at = head.find(b"content-length:")
    if at >= 0:
        return len(answer) >= head_end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
    return b"transfer-encoding: chunked" not in head or answer.endswith(LAST_CHUNK)


def run(job: dict[str, Any]) -> dict[str, object]:
    endpoint, seconds = Endpoint(**job["endpoint"]), float(job["seconds"])
    ready = list(requests(endpoint, Calls(**job["calls"])))
    # Nothing that is made from here on is garbage: the collector would only be seen in the latencies.
    gc.disable()
    started = time.perf_counter()
    unsent = iter(ready)
    load = Load(endpoint, unsent, job["clients"], started + seconds if not job["all"] else float("inf"))
    load.run(started + seconds + DRAIN_S)
    return {
        "began": started,
        "seconds": max(load.last_answer - started, 1e-9),
        "latencies_s": base64.b64encode(load.latencies_s.tobytes()).decode(),
        "statuses": load.statuses,
        "failures": load.failures,
        "used_up": not job["all"] and next(unsent, None) is None,
    }


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
