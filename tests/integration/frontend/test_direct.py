"""The short way of an invocation: what it takes, what it leaves to the long way, and how it ends early."""

from __future__ import annotations

import asyncio

import pytest

from services.frontend import main
from services.frontend.direct import BODY_BYTES_MAX
from services.frontend.invoke_request import InvokeRequests
from tests.integration.frontend.conftest import Frontend, running_frontend

HEAD = b"POST /2015-03-31/functions/%b/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%b\r\n"


def request(body: bytes = b"{}", *headers: bytes, function: bytes = b"f") -> bytes:
    return HEAD % (function, len(body), b"".join(header + b"\r\n" for header in headers)) + body


CLOSE = b"Connection: close"


async def test_a_small_whole_request_takes_the_short_way(open_frontend: Frontend) -> None:
    answer = await open_frontend.send(request(b'{"a": 1}', CLOSE))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b'{"a": 1}')
    assert open_frontend.backend.begun == 1


async def test_pipelined_requests_are_answered_in_their_order(open_frontend: Frontend) -> None:
    raw = b"".join(request(b"%d" % number) for number in range(5)) + request(b"5", CLOSE)
    answer = await open_frontend.send(raw)
    assert [part[-1:] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [b"0", b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("size", [BODY_BYTES_MAX, BODY_BYTES_MAX + 1])
async def test_a_large_body_goes_the_long_way(open_frontend: Frontend, size: int) -> None:
    answer = await open_frontend.send(request(b"1" * size, CLOSE))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert open_frontend.backend.begun == (1 if size <= BODY_BYTES_MAX else 0)
    assert len(open_frontend.backend.invocations) == 1


async def test_a_body_that_comes_late_goes_the_long_way(open_frontend: Frontend) -> None:
    body = b'{"a": 1}'
    raw = request(body, CLOSE, b"Expect: 100-continue")
    reader, writer = await asyncio.open_connection("127.0.0.1", open_frontend.port)
    async with asyncio.timeout(5):
        writer.write(raw.removesuffix(body))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 Continue")
        writer.write(body)
        assert (await reader.read()).endswith(body)
    writer.close()
    assert open_frontend.backend.begun == 0
    assert len(open_frontend.backend.invocations) == 1


async def test_a_failure_while_reading_is_told_by_the_long_way(
    open_frontend: Frontend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(InvokeRequests, "read", broken)
    answer = await open_frontend.send(request(b"{}", CLOSE))
    assert answer.startswith(b"HTTP/1.1 500")
    assert not open_frontend.backend.invocations


async def test_what_a_worker_refuses_looks_for_another_place_the_long_way(open_frontend: Frontend) -> None:
    open_frontend.backend.begin_refuses = 1
    answer = await open_frontend.send(request(b"7", CLOSE))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert len(open_frontend.backend.invocations) == 1
    assert open_frontend.backend.begun == 0


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

    monkeypatch.setattr(open_frontend.backend, "begin", broken)
    answer = await open_frontend.send(request(b"{}", CLOSE))
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"An internal error occurred." in answer
    assert not open_frontend.backend.invocations


async def test_what_is_wrong_is_told_by_the_long_way(open_frontend: Frontend) -> None:
    for raw, status in (
        (request(b"not json", CLOSE), b"400"),
        (request(b"{}", CLOSE, function=b"no-f"), b"404"),
        (request(b"{}", CLOSE, b"X-Amz-Invocation-Type: Sometimes"), b"400"),
    ):
        assert (await open_frontend.send(raw)).startswith(b"HTTP/1.1 " + status)
    assert not open_frontend.backend.invocations


@pytest.mark.parametrize("direct", [True, False])
async def test_what_runs_when_the_server_stops_is_answered_and_cancelled(monkeypatch: pytest.MonkeyPatch, direct: bool) -> None:
    monkeypatch.setattr(main, "DRAIN_S", 0.3)
    async with running_frontend(direct=direct, auth=False) as frontend:
        frontend.backend.behave = frontend.backend.hang
        answer = asyncio.create_task(frontend.send(request()))
        await frontend.backend.reached.wait()
    assert b"The service is stopping." in await answer
    assert frontend.backend.cancelled.is_set()
