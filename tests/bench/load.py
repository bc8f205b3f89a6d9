"""The load generator: a process of its own that repeats requests made (and signed) beforehand over keep-alive connections.

It costs a few microseconds a request and is the same for every peer. One job as JSON on stdin, one result as JSON on stdout;
`tests.bench.measure` is the other end. Each connection has one request under way at a time: the load is closed-loop.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from typing import cast

import uvloop

HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
RECONNECTS_MAX = 50
CONNECT_TIMEOUT_S = 5.0
DRAIN_S = 30.0
FAILURES_SHOWN = 3


class Load:
    """What all connections share. until: loop time after which no request is sent; None: until the requests are used up."""

    def __init__(self, requests: Iterator[bytes], until: float | None) -> None:
        self.requests = requests
        self.until = until
        self.latencies_s = array("f")
        self.statuses: Counter[str] = Counter()
        self.failures: list[str] = []
        self.reconnects = 0
        self.last_answer = 0.0

    def next(self) -> bytes | None:
        if self.until is not None and time.perf_counter() >= self.until:
            return None
        return next(self.requests, None)


class Client(asyncio.Protocol):
    def __init__(self, load: Load, done: asyncio.Future[None]) -> None:
        self._load = load
        self._done = done
        self._buffer = b""
        self._sent_at = 0.0
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        request = self._load.next()
        if request is None:
            self._finish()
            return
        self._waiting = True
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        head_end = buffer.find(HEAD_END)
        if head_end < 0:
            return
        head = buffer[:head_end].lower()
        at = head.find(b"content-length:")
        if at >= 0:
            length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(buffer) < head_end + 4 + length:
                return
        elif b"transfer-encoding: chunked" in head and not buffer.endswith(LAST_CHUNK):
            return
        now = time.perf_counter()
        load = self._load
        load.latencies_s.append(now - self._sent_at)
        load.last_answer = now
        status = buffer[9:12].decode()
        if b"x-amz-function-error" in head:
            status += " function error"
        load.statuses[status] += 1
        if status not in ("200", "202") and len(load.failures) < FAILURES_SHOWN:
            load.failures.append(buffer[:1000].decode(errors="replace"))
        self._buffer = b""
        self._waiting = False
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._done.done():
            return
        if self._waiting:
            self._load.statuses["connection lost"] += 1
        self._finish()

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)
        self._transport.close()


async def keep_connected(load: Load, host: str, port: int) -> None:
    """One client; a server that closes the connection between requests is dialled again."""
    loop = asyncio.get_running_loop()
    while True:
        done: asyncio.Future[None] = loop.create_future()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await loop.create_connection(lambda: Client(load, done), host, port)  # noqa: B023
        await done
        if load.until is None or time.perf_counter() >= load.until:
            return
        load.reconnects += 1
        if load.reconnects > RECONNECTS_MAX:
            return


async def run(job: dict[str, object]) -> dict[str, object]:
    requests = [base64.b64decode(text) for text in job["requests"]]  # type: ignore[attr-defined]
    seconds, clients = job["seconds"], int(str(job["clients"]))
    started = time.perf_counter()
    load = Load(
        iter(requests) if seconds is None else cycle(requests), None if seconds is None else started + float(str(seconds))
    )
    limit_s = (float(str(seconds)) if seconds is not None else float(str(job["once_timeout_s"]))) + DRAIN_S
    async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(keep_connected(load, str(job["host"]), int(str(job["port"]))))
    return {
        "seconds": max(load.last_answer - started, 1e-9),
        "latencies_s": base64.b64encode(load.latencies_s.tobytes()).decode(),
        "statuses": load.statuses,
        "failures": load.failures,
        "reconnects": load.reconnects,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))
