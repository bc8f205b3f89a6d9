"""What goes wrong between a worker and the keeper of its networks, or on the way to the cluster's endpoint, leaves nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from services.worker.sandbox.network import kept
from services.worker.sandbox.network.gateway.process import GatewayOptions
from services.worker.sandbox.network.gateway.relay import Relay
from services.worker.sandbox.network.gateway.shares import Shares
from services.worker.sandbox.network.keeper import process
from services.worker.sandbox.network.keeper.options import KeeperOptions, Reach
from services.worker.sandbox.network.kept import KeeperLink, KeptNetwork
from services.worker.sandbox.spec import SandboxError

OPTIONS = KeeperOptions(Reach.NOWHERE, (), 16, (), (), False, False, GatewayOptions(("127.0.0.1", 1), (), "test"))
DEADLINE_S = 30.0


@pytest.fixture
async def link() -> KeeperLink:
    return KeeperLink(OPTIONS, lambda: None)


@pytest.fixture
def offered() -> Iterator[int]:
    """A descriptor that stands for the namespace of a slot."""
    fd = os.open(os.devnull, os.O_RDONLY)
    yield fd
    if is_open(fd):
        os.close(fd)


def is_open(fd: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


async def test_a_slot_that_comes_as_the_wait_for_it_ends_is_the_next_ones(
    link: KeeperLink, offered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "TAKE_TIMEOUT_S", 0.0)
    late = asyncio.create_task(link.take())
    asyncio.get_running_loop().call_soon(link._on_message, {"slot": 1}, [offered])
    with pytest.raises(SandboxError, match="no network slot"):
        await late
    assert (await link.take()).number == 1
    await link.stop()


async def test_a_slot_whose_keeper_does_not_listen_is_let_go_and_the_keeper_replaced(offered: int) -> None:
    ends: list[None] = []
    link = KeeperLink(OPTIONS, lambda: ends.append(None))
    link._on_message({"report": {}}, [])
    link._on_message({"slot": 1}, [offered])
    link._control.far_end.close()
    with pytest.raises(SandboxError):
        await link.take()
    assert not is_open(offered)
    assert len(ends) == 1


async def test_refusals_that_the_keeper_was_not_told_are_told_again() -> None:
    network = KeptNetwork(OPTIONS, lambda: None)
    network.refuse([])
    deaf = network._link = KeeperLink(OPTIONS, lambda: None)
    deaf._control.far_end.close()
    for _attempt in range(2):
        with pytest.raises(SandboxError):
            network.refuse([("192.0.2.1", 6379)])
    await network.close()


def test_a_slot_that_cannot_be_made_keeps_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_arguments: object) -> process.Slot:
        raise OSError(12, "out of memory")

    monkeypatch.setattr(process, "Slot", fails)
    monkeypatch.setattr(process, "SLOTS_MAX", 2)
    near, far = socket.socketpair()
    with near, far:
        keeper = process.Keeper(near, OPTIONS)
        for _attempt in range(4):
            with pytest.raises(OSError, match="out of memory"):
                keeper.prove()


async def write_until_refused(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"is anybody there?")
        await writer.drain()
        await asyncio.sleep(0)


async def test_a_connection_that_its_server_has_ended_does_not_stay_for_a_function_that_is_frozen() -> None:
    async def answer_and_end(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.close()

    server = await asyncio.start_server(answer_and_end, "127.0.0.1", 0)
    relay = Relay(lambda: (server.sockets[0].getsockname(),), Shares(4, 8), linger_s=0.0)
    listener = socket.create_server(("127.0.0.1", 0))
    relayed = await relay.serve(listener)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    async with asyncio.timeout(DEADLINE_S):
        assert await reader.read() == b"bye"
        with pytest.raises(ConnectionError):
            await write_until_refused(writer)
    writer.transport.abort()
    relayed.close()
    server.close()
