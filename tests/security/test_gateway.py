"""The way to the cluster's endpoint and to names, which all functions of a worker share: nobody keeps others from it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from services.worker.sandbox.network.addresses import ENDPOINT
from services.worker.sandbox.network.gateway import process as gateway
from services.worker.sandbox.network.gateway.relay import Relay
from services.worker.sandbox.network.gateway.resolver import HostServers, Resolver
from services.worker.sandbox.network.gateway.shares import Shares
from services.worker.sandbox.network.keeper import namespaces
from services.worker.sandbox.network.kept import KeptNetwork
from tests.integration.network.functions import handler, sandboxes
from tests.integration.network.world import INTERNET, OUTSIDE, World
from tests.integration.sandbox.harness import needs_root, until

QUESTION = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\x04some\x04name\x00" + struct.pack("!HH", 1, 1)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """Where a relay leads, and the relay. Slots are other addresses of loopback."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._relay: asyncio.Server | None = None
        self._kept: list[asyncio.StreamWriter] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    async def start(self, shares: Shares, **options: Any) -> None:
        self._server = await asyncio.start_server(self._echo, "127.0.0.1", 0)
        target = self._server.sockets[0].getsockname()
        self._relay = await Relay(lambda: (target,), shares, **options).serve(self._listener)

    @staticmethod
    async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1_000):
            writer.write(data)
        writer.close()

    async def connect(self, slot: str) -> Streams:
        made = await asyncio.open_connection(*self._listener.getsockname(), local_addr=(slot, 0))
        self._kept.append(made[1])
        return made

    def connect_and_reset(self) -> None:
        with socket.create_connection(self._listener.getsockname()) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def close(self) -> None:
        for writer in self._kept:
            writer.transport.abort()
        for server in (self._relay, self._server):
            if server is not None:
                server.close()
        self._listener.close()


@asynccontextmanager
async def echo() -> AsyncIterator[Echo]:
    made = Echo()
    try:
        yield made
    finally:
        await made.close()


async def answers(streams: Streams) -> bool:
    reader, writer = streams
    with contextlib.suppress(ConnectionError):
        writer.write(b"asked")
        async with asyncio.timeout(10):
            return await reader.read(100) == b"asked"
    return False


async def test_functions_that_hold_every_connection_give_way_to_who_has_few() -> None:
    async with echo() as there:
        await there.start(Shares(per_slot_max=4, all_max=8))
        held = [await there.connect(slot) for slot in ("127.0.1.1", "127.0.1.2") for _ in range(4)]
        assert all([await answers(each) for each in held])
        assert not await answers(await there.connect("127.0.1.1")), "over its own bound"
        others = [await there.connect("127.0.1.3") for _ in range(2)]
        assert all([await answers(each) for each in others])
        assert [await answers(each) for each in held].count(True) == 6
        for _ in range(20):  # They try to have them back.
            for slot in ("127.0.1.1", "127.0.1.2"):
                await answers(await there.connect(slot))
        assert all([await answers(each) for each in others])


async def test_a_connection_that_is_bound_in_time_ends() -> None:
    async with echo() as there:
        await there.start(Shares(4, 8), lasts_s=0.05)
        reader, _writer = await there.connect("127.0.1.1")
        async with asyncio.timeout(10):
            assert await reader.read(1) == b""


async def test_who_has_gone_before_it_was_taken_is_no_error() -> None:
    """Each would have been a traceback in the worker's log: a way to fill it that no bound of logs knows of."""
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
    async with echo() as there:
        for _ in range(50):
            there.connect_and_reset()
        await there.start(Shares(4, 8))
        assert await answers(await there.connect("127.0.1.1"))
    assert not problems


async def test_questions_that_nobody_answers_leave_others_theirs() -> None:
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener,
        contextlib.ExitStack() as stack,
    ):
        silent.bind(("127.0.0.1", 0))
        listener.bind(("127.0.0.1", 0))
        silent.setblocking(False)
        listener.setblocking(False)
        resolver = Resolver(HostServers((silent.getsockname(),)), "example", Shares(per_slot_max=4, all_max=8))
        transport, _ = await loop.create_datagram_endpoint(lambda: resolver, sock=listener)
        stack.callback(transport.close)
        askers = []
        for slot in ("127.0.1.1", "127.0.1.2", "127.0.1.3"):
            asker = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            asker.setblocking(False)
            asker.bind((slot, 0))
            askers.append(asker)
        for asker in askers[:2]:
            for _ in range(10):
                asker.sendto(QUESTION, listener.getsockname())
        async with asyncio.timeout(10):
            for _ in range(8):
                await loop.sock_recvfrom(silent, 1_000)
            askers[2].sendto(QUESTION, listener.getsockname())
            query, source = await loop.sock_recvfrom(silent, 1_000)
            silent.sendto(query[:2] + b"\x81\x80" + query[4:], source)
            assert (await loop.sock_recv(askers[2], 1_000))[:2] == QUESTION[:2]


FLOOD = handler(
    f"""
import time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
until = time.monotonic() + event
while time.monotonic() < until:
    for _ in range(100):
        sender.sendto(b"no question", ("{ENDPOINT}", 53))
"""
)
TRIES = 3
"""As of a C library: a datagram may be lost where there is much traffic, three in a row are not."""
ASK = handler(
    f"""
answered = 0
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
    asker.settimeout(1)
    asker.connect(("{ENDPOINT}", 53))
    for _ in range(event):
        for _ in range({TRIES}):
            asker.send({QUESTION!r})
            try:
                answered += len(asker.recv(1_000)) > 0
                break
            except TimeoutError:
                pass
return answered
"""
)


def dropped_at_the_resolver(keeper_pid: int) -> int:
    """Datagrams that found its socket full, as the kernel counts them in the keeper's router."""
    found = []
    for entry in Path(f"/proc/{keeper_pid}/fd").iterdir():
        if os.readlink(entry).startswith("net:"):
            descriptor = os.open(entry, os.O_RDONLY)
            try:
                with namespaces.inside(descriptor):
                    lines = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
            finally:
                os.close(descriptor)
            found += [int(line.split()[-1]) for line in lines if line.split()[1].endswith(":0035")]
    (dropped,) = found
    return dropped


@needs_root
async def test_a_flood_of_datagrams_to_the_resolver_takes_no_others_question(net: World, tmp_path: Path) -> None:
    net.resolve(OUTSIDE, INTERNET)
    async with (
        sandboxes(tmp_path, resolvers=[OUTSIDE]) as harness,
        harness.running(FLOOD, memory_mb=1_769) as one,
        harness.running(ASK) as other,
    ):
        assert isinstance(harness.pool.network, KeptNetwork)
        assert await other.result(1) == 1
        flood = asyncio.create_task(one.result(3))
        while not flood.done():
            assert await other.result(10) == 10
        await flood
        assert dropped_at_the_resolver(harness.pool.network.keeper_pid) == 0


def open_files_max(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max open files")]
    return int(line.split()[3])


@needs_root
async def test_the_gateway_has_the_descriptors_that_its_bounds_come_to(net: World, tmp_path: Path) -> None:
    """A service manager gives 1,024: eight functions would have had all of them, and then nobody reaches the endpoint."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1_024), hard))
    try:
        async with sandboxes(tmp_path) as harness:
            assert isinstance(harness.pool.network, KeptNetwork)
            (found,) = psutil.Process(harness.pool.network.keeper_pid).children()
            await until(lambda: found.uids().real == gateway.NOBODY, "it has given up what it may")
            needed = 2 * (gateway.CONNECTIONS_MAX + gateway.STREAMS_MAX) + gateway.QUERIES_MAX
            assert open_files_max(found.pid) >= min(needed, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
