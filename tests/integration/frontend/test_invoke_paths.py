"""An invocation's way through the frontend: what takes a task and what takes none, and how it ends early."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

import pytest
import uvloop

from services.frontend import main
from services.frontend.edge.http_protocol import Exchange
from services.frontend.invoke.request import InvokeRequests
from services.frontend.invoke.routes import BODY_BYTES_MAX
from shared.domain.invocations import Invocation, InvocationResult
from tests.integration.dispatch.toy_worker import until
from tests.integration.frontend.conftest import Frontend, running_frontend
from tests.support import PATIENCE_S

HEAD = b"POST /2015-03-31/functions/%b/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%b\r\n"


def request(body: bytes = b"{}", *headers: bytes, function: bytes = b"f") -> bytes:
    return HEAD % (function, len(body), b"".join(header + b"\r\n" for header in headers)) + body


CLOSE = b"Connection: close"


def tasks_made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The tasks that requests are given from now on."""
    made: list[object] = []
    run = Exchange.run
    monkeypatch.setattr(Exchange, "run", lambda exchange, work: made.append(work) or run(exchange, work))
    return made


async def test_a_small_whole_request_takes_no_task(open_frontend: Frontend, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tasks_made(monkeypatch)
    for headers in ([CLOSE], [CLOSE, b"X-Amz-Invocation-Type: Event"], [CLOSE, b"X-Amz-Invocation-Type: DryRun"]):
        assert (await open_frontend.send(request(b'{"a": 1}', *headers))).startswith(b"HTTP/1.1 20")
    assert not made
    assert open_frontend.backend.started == 1
    assert len(open_frontend.backend.events) == 1


async def test_pipelined_requests_are_answered_in_their_order(open_frontend: Frontend) -> None:
    raw = b"".join(request(b"%d" % number) for number in range(5)) + request(b"5", CLOSE)
    answer = await open_frontend.send(raw)
    assert [part[-1:] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [b"0", b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("size", [BODY_BYTES_MAX, BODY_BYTES_MAX + 1])
async def test_a_large_body_is_read_in_a_task(open_frontend: Frontend, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tasks_made(monkeypatch)
    answer = await open_frontend.send(request(b"1" * size, CLOSE))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"1" * size)
    if size > BODY_BYTES_MAX:
        assert made
    assert len(open_frontend.backend.invocations) == 1


async def test_a_body_that_comes_late_is_waited_for(open_frontend: Frontend) -> None:
    body = b'{"a": 1}'
    raw = request(body, CLOSE, b"Expect: 100-continue")
    reader, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port)
    async with asyncio.timeout(PATIENCE_S):
        writer.write(raw.removesuffix(body))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 Continue")
        writer.write(body)
        assert (await reader.read()).endswith(body)
    writer.close()
    assert len(open_frontend.backend.invocations) == 1


async def test_a_failure_while_reading_is_told(open_frontend: Frontend, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(InvokeRequests, "read", broken)
    answer = await open_frontend.send(request(b"{}", CLOSE))
    assert answer.startswith(b"HTTP/1.1 500")
    assert not open_frontend.backend.invocations


async def test_a_body_that_breaks_the_protocol_is_refused_once_and_runs_nothing(open_frontend: Frontend) -> None:
    head = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await open_frontend.send(head + b"zz\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
    assert not open_frontend.backend.invocations


async def test_a_failure_that_nobody_foresaw_is_told_and_not_tried_again(
    open_frontend: Frontend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(open_frontend.backend, "start", broken)
    answer = await open_frontend.send(request(b"{}", CLOSE))
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"An internal error occurred." in answer
    assert not open_frontend.backend.invocations


async def test_what_is_wrong_is_told(open_frontend: Frontend) -> None:
    for raw, status in (
        (request(b"not json", CLOSE), b"400"),
        (request(b"{}", CLOSE, function=b"no-f"), b"404"),
        (request(b"{}", CLOSE, b"X-Amz-Invocation-Type: Sometimes"), b"400"),
    ):
        assert (await open_frontend.send(raw)).startswith(b"HTTP/1.1 " + status)
    assert not open_frontend.backend.invocations


@pytest.mark.parametrize("at_hand", [True, False])
async def test_what_runs_when_the_server_stops_is_answered_and_cancelled(
    monkeypatch: pytest.MonkeyPatch, at_hand: bool
) -> None:
    monkeypatch.setattr(main, "DRAIN_S", 0.3)
    async with running_frontend(at_hand=at_hand, auth=False) as frontend:
        frontend.backend.behave = frontend.backend.hang
        answer = asyncio.create_task(frontend.send(request()))
        await frontend.backend.reached.wait()
    assert b"The service is stopping." in await answer
    assert frontend.backend.cancelled.is_set()


async def test_a_server_that_stops_refuses_new_connections_at_once_and_answers_what_runs() -> None:
    async with running_frontend(auth=False) as frontend:
        release = asyncio.Event()

        async def wait(invocation: Invocation) -> InvocationResult:
            await release.wait()
            return await frontend.backend.echo(invocation)

        frontend.backend.behave = wait
        answer = asyncio.create_task(frontend.send(request(b"1")))
        await frontend.backend.reached.wait()
        frontend.server.stop()

        async def is_refused() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", frontend.port)
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:  # It came in the moment of closing.
                return False
            writer.close()
            return False

        async with asyncio.timeout(PATIENCE_S):
            while not await is_refused():  # noqa: ASYNC110  # Asked of the kernel, which sets no event.
                await asyncio.sleep(0.01)
        assert not answer.done()
        release.set()
        assert (await answer).endswith(b"connection: close\r\n\r\n1")


async def leave_during(frontend: Frontend, raw: bytes, *, reset: bool = True) -> None:
    """A client that goes as soon as its invocation runs; returns once the server knows.

    reset: it is seen that nobody is there. Otherwise it might have closed its half alone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", frontend.port)
    writer.write(raw)
    async with asyncio.timeout(PATIENCE_S):
        await frontend.backend.reached.wait()
        (connection,) = frontend.server.server_state.connections
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await until(lambda: connection.transport.is_closing() or not connection.cycle.keep_alive)
    del reader


STREAMED = (
    b"POST /2021-11-15/functions/f/response-streaming-invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
)


LEAVES = pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])


@LEAVES
@pytest.mark.parametrize("raw", [request(), STREAMED, request(b"1" * (BODY_BYTES_MAX + 1))], ids=["small", "streamed", "large"])
async def test_an_invocation_whose_client_goes_away_runs_to_its_end(raw: bytes, reset: bool) -> None:
    async with running_frontend(auth=False) as frontend:
        release, ended = asyncio.Event(), asyncio.Event()

        async def wait(invocation: Invocation) -> InvocationResult:
            await release.wait()
            ended.set()
            return await frontend.backend.echo(invocation)

        frontend.backend.behave = wait
        await leave_during(frontend, raw, reset=reset)
        # Also where the server is told to stop meanwhile: it waits, as it does for those whose clients are there.
        frontend.server.stop()
        asyncio.get_running_loop().call_later(0.3, release.set)
    assert ended.is_set()
    assert not frontend.backend.cancelled.is_set()


@LEAVES
@pytest.mark.parametrize("raw", [request(), STREAMED], ids=["small", "streamed"])
async def test_the_servers_stop_ends_in_time_what_runs_for_a_client_that_has_gone(
    raw: bytes, reset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "DRAIN_S", 0.3)
    async with running_frontend(auth=False) as frontend:
        frontend.backend.behave = frontend.backend.hang
        await leave_during(frontend, raw, reset=reset)
        assert not frontend.backend.cancelled.is_set()
    async with asyncio.timeout(PATIENCE_S):
        await frontend.backend.cancelled.wait()


@LEAVES
@pytest.mark.parametrize("raw", [request(), STREAMED], ids=["small", "streamed"])
async def test_an_operator_may_want_invocations_to_end_with_their_clients(raw: bytes, reset: bool) -> None:
    async with running_frontend(auth=False, cancel_on_disconnect=True) as frontend:
        frontend.backend.behave = frontend.backend.hang
        await leave_during(frontend, raw, reset=reset)
        async with asyncio.timeout(PATIENCE_S):
            await frontend.backend.cancelled.wait()


@pytest.mark.parametrize("reads", [True, False], ids=["while it reads", "while it takes nothing"])
def test_a_stream_whose_client_goes_away_is_taken_to_its_end(reads: bool, caplog: pytest.LogCaptureFixture) -> None:
    # On uvloop, as the service runs: there it is an error to write to a connection that was lost.
    uvloop.run(stream_to_a_client_that_goes_away(reads))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def stream_to_a_client_that_goes_away(reads: bool) -> None:
    async with running_frontend(auth=False) as frontend:
        written = asyncio.Event()
        pieces = 200

        async def stream(invocation: Invocation) -> InvocationResult:
            """As a worker does: no piece more than there is credit for."""
            response = frontend.backend.response
            assert response is not None
            credit = asyncio.Semaphore(4)
            response.begin("text/plain", lambda size: credit.release())
            for _ in range(pieces):
                await credit.acquire()
                response.feed(b"x" * 65_536)
            written.set()
            return InvocationResult(b"", "$LATEST")

        frontend.backend.behave = stream
        reader, writer = await asyncio.open_connection("127.0.0.1", frontend.port)
        writer.write(STREAMED)
        async with asyncio.timeout(PATIENCE_S):
            await reader.readexactly(1_000)
            if not reads:
                (connection,) = frontend.server.server_state.connections
                await until(lambda: connection.flow.write_paused)
            writer.transport.abort()
            await written.wait()
