"""What the endpoint does with clients that are slow, broken, greedy or hostile. Every byte here is sent by hand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from services.frontend.edge.http_protocol import LINGER_S
from shared.domain.invocations import Invocation, InvocationResult
from tests.integration.frontend.conftest import Frontend, running_frontend
from tests.support import PATIENCE_S

HEAD = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: localhost\r\n"
HEALTH = b"GET /_lambdad/health HTTP/1.1\r\nHost: localhost\r\n"


def invoke_of(body: bytes, extra: bytes = b"") -> bytes:
    return HEAD + extra + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def dribble(frontend: Frontend, start: bytes, drop: bytes, every_s: float) -> bytes:
    """Send `start`, then `drop` again and again; what came back when the server had enough."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", frontend.port)
    writer.write(start)
    answer = asyncio.create_task(reader.read())
    while not answer.done() and time.monotonic() - began < PATIENCE_S:
        await asyncio.sleep(every_s)
        writer.write(drop)
    writer.close()
    assert answer.done(), "the server still waits"
    return await answer


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nX: ", b"a"),
        (b"G", b"E"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["header", "request-line", "body", "chunks"],
)
async def test_a_client_that_dribbles_is_cut(open_frontend: Frontend, start: bytes, drop: bytes) -> None:
    answer = await dribble(open_frontend, start, drop, 0.1)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))
    assert open_frontend.backend.invocations == []


async def test_a_connection_that_never_says_anything_is_closed(open_frontend: Frontend) -> None:
    assert await open_frontend.send(b"") == b""


async def test_an_idle_connection_is_closed_after_the_keep_alive_timeout(open_frontend: Frontend) -> None:
    answer = await open_frontend.send(HEALTH + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Bad Header: x\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
    ],
)
async def test_malformed_http_is_a_400_and_the_end_of_the_connection(open_frontend: Frontend, raw: bytes) -> None:
    answer = await open_frontend.send(raw)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close" in answer
    assert open_frontend.backend.invocations == []


@pytest.mark.parametrize("value", [b"a" * 9_000, b"a" * 200_000])
async def test_headers_have_a_bound(open_frontend: Frontend, value: bytes) -> None:
    answer = await open_frontend.send(HEALTH + b"X-Big: " + value + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431")


async def test_headers_that_never_end_are_cut_at_the_bound(open_frontend: Frontend) -> None:
    answer = await open_frontend.send(HEALTH + b"X: y\r\n" * 5_000)
    assert answer.startswith(b"HTTP/1.1 431")


async def test_a_declared_size_over_the_limit_is_answered_without_waiting_for_it(open_frontend: Frontend) -> None:
    answer = await open_frontend.send(HEAD + b"Content-Length: 10000000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"Request must be smaller than 6291456 bytes for the InvokeFunction operation" in answer
    assert b"connection: close" in answer


async def test_the_answer_to_an_oversized_body_arrives_before_its_end(open_frontend: Frontend) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port)
    writer.write(HEAD + b"Content-Length: 10000000000\r\n\r\n" + b" " * 1_000)
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_control_plane_body_over_the_limit_names_the_operation(open_frontend: Frontend) -> None:
    raw = b"POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70167212\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port)
    writer.write(raw)
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.read(4_096)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"Request must be smaller than 70167211 bytes for the CreateFunction operation" in answer


async def test_a_chunked_body_over_the_limit_is_refused_when_it_crosses_it(open_frontend: Frontend) -> None:
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    answer = await open_frontend.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 7 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_chunked_body_is_read(open_frontend: Frontend) -> None:
    raw = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    assert (await open_frontend.send(raw)).endswith(b"\r\n\r\n[1,2]")


async def test_pipelined_requests_are_answered_in_order(open_frontend: Frontend) -> None:
    raw = b"".join(invoke_of(b"%d" % number) for number in range(10)) + invoke_of(b"10", b"Connection: close\r\n")
    answer = await open_frontend.send(raw)
    assert answer.count(b"HTTP/1.1 200 OK") == 11
    assert [int(part.rsplit(b"\r\n\r\n")[-1]) for part in answer.split(b"HTTP/1.1")[1:]] == list(range(11))


async def test_a_flood_of_pipelined_requests_is_bounded(open_frontend: Frontend) -> None:
    with contextlib.suppress(ConnectionError):
        await open_frontend.send(invoke_of(b"1") * 2_000)
    assert len(open_frontend.backend.invocations) < 2_000
    assert (await open_frontend.send(HEALTH + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_garbage_behind_a_request_does_not_become_its_answer(open_frontend: Frontend) -> None:
    answer = await open_frontend.send(invoke_of(b"7") + b"\x00garbage\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"\r\n\r\n7")


async def test_expect_100_continue_is_honoured(open_frontend: Frontend) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port)
    writer.write(HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(b"42")
        assert (await reader.read()).endswith(b"\r\n\r\n42")
    writer.close()


async def test_an_upgrade_is_not_made_but_the_request_is_answered(open_frontend: Frontend) -> None:
    raw = HEALTH + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    assert (await open_frontend.send(raw)).startswith(b"HTTP/1.1 200 OK")


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(open_frontend: Frontend) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port)
        writer.write(HEAD + b"Content-Length: 100000\r\n\r\n" + b" " * 1_000)
        await writer.drain()
        writer.close()
    assert (await open_frontend.send(invoke_of(b"1", b"Connection: close\r\n"))).startswith(b"HTTP/1.1 200")
    assert len(open_frontend.backend.invocations) == 1


async def test_connections_beyond_the_bound_are_told_so_while_all_others_are_served() -> None:
    async with running_frontend(auth=False, connections_max=5) as frontend:
        release, all_run = asyncio.Event(), asyncio.Barrier(6)

        async def wait(invocation: object) -> object:
            await all_run.wait()
            await release.wait()
            return await frontend.backend.echo(invocation)  # type: ignore[arg-type]

        frontend.backend.behave = wait
        held = [asyncio.create_task(frontend.send(invoke_of(b"1", b"Connection: close\r\n"))) for _ in range(5)]
        async with asyncio.timeout(PATIENCE_S):
            await all_run.wait()
        assert (await frontend.send(HEALTH + b"\r\n")).startswith(b"HTTP/1.1 503")
        release.set()
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in await asyncio.gather(*held))
        assert (await frontend.send(HEALTH + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_strangers_cannot_keep_out_who_has_a_key() -> None:
    """A thousand connections that say nothing, or ask for the health, and come again when they are closed."""
    async with running_frontend(connections_max=40) as frontend:
        client = frontend.client()
        kept = await asyncio.to_thread(client.invoke, FunctionName="f", Payload=b"1")
        assert kept["StatusCode"] == 200
        strangers = [await asyncio.open_connection("127.0.0.1", frontend.port) for _ in range(100)]
        for _, writer in strangers[-10:]:
            writer.write(HEALTH + b"\r\n")
        # The connection that was there before stays, whatever they do; and one that comes now is served.
        before = len(frontend.server.server_state.connections)
        answer = await asyncio.to_thread(client.invoke, FunctionName="f", Payload=b"2")
        assert answer["Payload"].read() == b"2"
        assert len(frontend.server.server_state.connections) == before
        for number in range(20):
            answers = await asyncio.to_thread(fresh_call, frontend, number)
            assert answers == b"%d" % number
            strangers.append(await asyncio.open_connection("127.0.0.1", frontend.port))
        for _, writer in strangers:
            writer.close()


def fresh_call(frontend: Frontend, number: int) -> bytes:
    frontend._clients.clear()
    client = frontend.client()
    try:
        return bytes(client.invoke(FunctionName="f", Payload=b"%d" % number)["Payload"].read())
    finally:
        client.close()


async def test_one_address_has_its_share_where_one_is_set() -> None:
    async with running_frontend(connections_max=100, connections_per_address_max=3) as frontend:
        first, *others = [await asyncio.open_connection("127.0.0.1", frontend.port) for _ in range(4)]
        assert await asyncio.wait_for(first[0].read(), PATIENCE_S) == b""
        for reader, writer in others:
            writer.write(HEALTH + b"Connection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")


async def test_who_was_too_slow_holds_its_place_no_longer(open_frontend: Frontend) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port)
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    assert answer.startswith(b"HTTP/1.1 408")
    async with asyncio.timeout(LINGER_S * 0.9):
        while open_frontend.server.server_state.connections:
            writer.write(b"a")
            await asyncio.sleep(0.05)
    writer.close()


async def test_two_hosts_are_refused(open_frontend: Frontend) -> None:
    answer = await open_frontend.send(HEALTH + b"Host: elsewhere\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    both = await open_frontend.send(HEALTH + b"\r\n" + HEALTH + b"Connection: close\r\n\r\n")
    assert both.count(b"HTTP/1.1 200") == 2


async def test_trailers_are_no_headers(open_frontend: Frontend) -> None:
    extra = b"Transfer-Encoding: chunked\r\nTrailer: X-Amz-Invocation-Type\r\nConnection: close\r\n\r\n"
    body = b"1\r\n1\r\n0\r\nX-Amz-Invocation-Type: DryRun\r\n\r\n"
    answer = await open_frontend.send(HEAD + extra + body)
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(open_frontend.backend.invocations) == 1


async def test_a_reader_that_takes_nothing_of_a_large_answer_is_cut(open_frontend: Frontend) -> None:
    body = b'"' + b"a" * 6_000_000 + b'"'
    reader, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port, limit=1_024)
    writer.write(invoke_of(body))
    async with asyncio.timeout(PATIENCE_S):
        await writer.drain()
        await open_frontend.backend.reached.wait()
        await asyncio.sleep(3.0)  # The server's patience, which is what is measured here, and its sweep.
        read = b""
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            read = await reader.readexactly(len(body))
    assert len(read) < len(body)
    writer.close()


async def test_a_graceful_stop_finishes_what_runs() -> None:
    async with running_frontend(auth=False) as frontend:
        release = asyncio.Event()

        async def wait(invocation: object) -> object:
            await release.wait()
            return await frontend.backend.echo(invocation)  # type: ignore[arg-type]

        frontend.backend.behave = wait  # type: ignore[assignment]
        running = asyncio.create_task(frontend.send(invoke_of(b"5")))
        async with asyncio.timeout(PATIENCE_S):
            await frontend.backend.reached.wait()
        asyncio.get_running_loop().call_later(0.3, release.set)
    assert (await running).endswith(b"\r\n\r\n5")


@pytest.mark.parametrize("sender", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_client_that_closed_its_half_after_its_requests_gets_every_answer(sender: Callable[[Any], None]) -> None:
    async def exchange() -> None:
        async with running_frontend(auth=False) as frontend:
            release = asyncio.Event()

            async def slow(invocation: Invocation) -> InvocationResult:
                await release.wait()
                return InvocationResult(invocation.payload, "$LATEST")

            frontend.backend.behave = slow
            reader, writer = await asyncio.open_connection("127.0.0.1", frontend.port)
            writer.write(invoke_of(b"1") + invoke_of(b"2"))
            writer.write_eof()
            async with asyncio.timeout(PATIENCE_S):
                await frontend.backend.reached.wait()
                release.set()
                answer = await reader.read()
            assert [part.rsplit(b"\r\n\r\n")[-1] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [b"1", b"2"]
            writer.close()

    sender(exchange())


async def test_half_a_request_behind_which_the_client_closed_is_no_request(open_frontend: Frontend) -> None:
    for half in (HEALTH, HEAD + b"Content-Length: 10\r\n\r\n{}"):
        reader, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port)
        writer.write(half)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""
        writer.close()
    assert open_frontend.backend.invocations == []
