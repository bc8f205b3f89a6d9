"""How fast one function receives from, and sends to, a server outside of its host: network namespaces of this machine, so what is
measured is the way through slot, router and host. Beside it the same code on the host itself, with the wire and nothing between."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.worker.sandbox.network.keeper import namespaces
from tests.bench.report import Outcome, Row
from tests.integration.network.functions import sandboxes
from tests.integration.network.world import INTERNET, World, world

MEGABITS_MIN = 1_000
ROUNDS = 3
PORT = 7_000
CHUNK_BYTES = 1 << 18
CLIENT = f"""
import socket, time
def receive(seconds):
    began, got, buffer = time.monotonic(), 0, bytearray({CHUNK_BYTES})
    with socket.create_connection(("{INTERNET}", {PORT}), 5) as connection:
        connection.sendall(b"r")
        while time.monotonic() - began < seconds:
            got += connection.recv_into(buffer)
    return got * 8 / 1e6 / (time.monotonic() - began)
def send(seconds):
    began, sent, data = time.monotonic(), 0, bytes({CHUNK_BYTES})
    with socket.create_connection(("{INTERNET}", {PORT}), 5) as connection:
        connection.sendall(b"s")
        while time.monotonic() - began < seconds:
            connection.sendall(data)
            sent += len(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    return sent * 8 / 1e6 / (time.monotonic() - began)
def handler(event, context):
    return {{"receive": receive, "send": send}}[event["way"]](event["seconds"])
"""


def egress(seconds: float) -> Outcome:
    title = "megabits a second between one function and a server outside"
    outcome = Outcome("egress", title, "per_s", MEGABITS_MIN)
    try:
        with world() as net, _server(net):
            outcome.rows.extend(asyncio.run(_measure(min(seconds, 2.0))))
    except Exception as error:
        traceback.print_exc()
        outcome.rows.append(Row("lambdad", absent=f"failed while it was measured: {error}"))
    return outcome


async def _measure(seconds: float) -> list[Row]:
    host: dict[str, object] = {}
    exec(CLIENT, host)
    handler = host["handler"]
    assert callable(handler)
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with sandboxes(Path(folder)) as harness, harness.running(CLIENT) as function:
            for _ in range(ROUNDS):
                for way in ("receive", "send"):
                    event = {"way": way, "seconds": seconds}
                    inside = await function.result(event)
                    outside = await asyncio.to_thread(handler, event, None)
                    for name, rate in ((f"lambdad ({way}s)", inside), (f"the host itself ({way}s)", outside)):
                        best[name] = max(best.get(name, 0.0), rate)
    names = [f"{who} ({way}s)" for who in ("lambdad", "the host itself") for way in ("receive", "send")]
    return [Row(name, per_s=best[name], count=ROUNDS, note="the best round") for name in names]


@contextmanager
def _server(net: World) -> Iterator[None]:
    """Sends to who says `r`, and reads from who says `s`."""
    with namespaces.inside(net.outside):
        listener = socket.create_server((INTERNET, PORT))

    def serve() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=_exchange, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _exchange(connection: socket.socket) -> None:
    data = bytearray(CHUNK_BYTES)
    with connection:
        try:
            if connection.recv(1) == b"r":
                while True:
                    connection.sendall(data)
            while connection.recv_into(data):
                pass
            connection.sendall(b".")
        except OSError:
            pass  # It has had enough.
