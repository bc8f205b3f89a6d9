"""That a worker notices whether the cluster's endpoint answers where it leads its functions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from services.worker.sandbox.network.endpoint import EndpointWatch
from tests.support import PATIENCE_S


@asynccontextmanager
async def served(port: int, answer: bytes) -> AsyncIterator[int]:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(reply, "127.0.0.1", port) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def watching(watch: EndpointWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_an_endpoint_that_is_silent_is_told_until_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lambdad.worker")
    async with served(0, b"HTTP/1.1 200 OK\r\n\r\n") as port:
        pass
    watch = EndpointWatch(("127.0.0.1", port), patience_s=0.05)
    async with watching(watch):
        await until(lambda: watch.problem is not None)
        assert f"no frontend answers at 127.0.0.1:{port}" in watch.weaker()["endpoint"]
        assert "LAMBDAD_NETWORK__ENDPOINT_HOST" in watch.weaker()["endpoint"]
        async with served(port, b"HTTP/1.1 200 OK\r\n\r\n"):
            await until(lambda: watch.problem is None)
    assert watch.weaker() == {}
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 404 Not Found\r\n\r\n", b"-ERR\r\n", b"", b"x" * 100_000])
async def test_something_else_at_its_address_is_no_endpoint(answer: bytes) -> None:
    async with served(0, answer) as port:
        watch = EndpointWatch(("127.0.0.1", port), patience_s=0.05)
        async with watching(watch):
            await until(lambda: watch.problem is not None)
