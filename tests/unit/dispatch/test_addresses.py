"""What a worker's address means to those who dial it."""

from __future__ import annotations

import asyncio
import uuid
from typing import cast

import pytest

from shared.dispatch.wire.addresses import dial, on_host, unix_path
from tests.support import PATIENCE_S


class Greeting(asyncio.Protocol):
    def __init__(self) -> None:
        self.said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.said.set_result(data)


def greeter() -> asyncio.Protocol:
    class Greeter(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            cast("asyncio.Transport", transport).write(b"hello")

    return Greeter()


async def greeted(address: str) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        return await (await dial(address, Greeting, timeout_s=5)).said


async def test_a_worker_on_this_host_is_dialled_without_a_port() -> None:
    address = on_host(f"lambdad-test-{uuid.uuid4().hex}")
    server = await asyncio.get_running_loop().create_unix_server(greeter, unix_path(address))
    async with server:
        assert await greeted(address) == b"hello"
    with pytest.raises(OSError, match="refused"):
        await dial(address, Greeting, timeout_s=5)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_any_other_address_is_a_host_and_a_port(host: str) -> None:
    plain = host.strip("[]")
    try:
        server = await asyncio.get_running_loop().create_server(greeter, plain, 0)
    except OSError:
        pytest.skip(f"this machine has no {plain}")
    async with server:
        assert await greeted(f"{host}:{server.sockets[0].getsockname()[1]}") == b"hello"


@pytest.mark.parametrize("address", ["", "host", "host:", "host:http"])
async def test_what_is_no_address_is_said_to_be_none(address: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await dial(address, Greeting, timeout_s=5)
