"""The Runtime API against a runtime that behaves badly, over a real socket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from services.worker.sandbox import cgroup_v2
from services.worker.sandbox.runtime_api.api import CONNECTIONS_MAX, SandboxApi
from services.worker.sandbox.runtime_api.runtime.calls import RuntimeCalls
from services.worker.sandbox.runtime_api.runtime.machine import TABLE, Call, IllegalTransitionError, State, advance
from services.worker.sandbox.spec import Flow, RuntimeInvocation, RuntimeResponse
from services.worker.sandbox.work_budget import (
    CONNECTION_STEPS,
    INVOCATION_STEPS,
    REQUEST_STEPS,
    STEPS_A_SECOND,
    STEPS_SAVED_MAX,
    WorkBudget,
    all_sandboxes,
)
from tests.integration.sandbox.harness import until
from tests.support import PATIENCE_S

ID = "8e1b3b2a-0000-4000-8000-000000000000"
NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\n\r\n"
FORBIDDEN = {
    "errorMessage": "State transition from Started to InvocationResponse failed for runtime. Error: State transition is not allowed",
    "errorType": "InvalidStateTransition",
}


class Events:
    """What the API told its sandbox."""

    def __init__(self) -> None:
        self.ready = 0
        self.responses: list[RuntimeResponse] = []
        self.init_errors: list[bytes] = []
        self.pieces: Pieces | None = None

    def on_prepared(self) -> None: ...
    def on_broken(self, reason: str) -> None: ...
    def on_violation(self, reason: str) -> None: ...
    def on_stray(self) -> None: ...

    def on_next(self) -> None: ...

    def on_ready(self) -> None:
        self.ready += 1

    def on_response(self, response: RuntimeResponse) -> None:
        self.responses.append(response)

    def on_init_error(self, document: bytes) -> None:
        self.init_errors.append(document)

    def on_stream(self, content_type: str, flow: Flow) -> Pieces | None:
        if self.pieces is not None:
            self.pieces.begin(content_type, flow)
        return self.pieces


class Pieces:
    """Who takes a streamed response."""

    def __init__(self) -> None:
        self.content_type = ""
        self.data = b""
        self.flow: Flow | None = None

    def begin(self, content_type: str, flow: Flow) -> None:
        self.content_type, self.flow = content_type, flow

    def write(self, data: bytes) -> None:
        self.data += data


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE_S):
            status = int((await self.reader.readline()).split()[1])
            headers = {}
            while (line := (await self.reader.readline()).strip()) != b"":
                name, _, value = line.decode().partition(": ")
                headers[name.lower()] = value
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))

    async def post(self, path: str, body: bytes, *headers: str) -> tuple[int, object]:
        lines = [f"POST /2018-06-01/runtime/{path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *headers]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        status, _, answer = await self.reply()
        return status, json.loads(answer)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[SandboxApi, Events, Client]]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    events = Events()
    api = SandboxApi(listener, RuntimeCalls(events, serves=True), WorkBudget(all_sandboxes()))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=8 * 1024 * 1024)
    try:
        yield api, events, Client(reader, writer)
    finally:
        writer.close()
        api.close()


def invocation(payload: bytes = b"{}") -> RuntimeInvocation:
    return RuntimeInvocation(
        ID, payload, 1_700_000_000_000, "arn:aws:lambda:us-east-1:000000000000:function:fn", "Root=1", '{"a":\n1}'
    )


@pytest.mark.parametrize(("state", "call"), list(itertools.product(State, Call)))
def test_a_transition_is_in_the_table_or_refused(state: State, call: Call) -> None:
    if (state, call) in TABLE:
        assert advance(state, call) is TABLE[state, call]
    else:
        with pytest.raises(IllegalTransitionError, match=rf"State transition from {state} to \w+ failed for runtime"):
            advance(state, call)


async def test_an_event_goes_out_with_its_headers_and_its_answer_comes_back() -> None:
    async with serving() as (api, events, client):
        client.writer.write(NEXT)
        api.runtime.invoke(invocation(b'{"key": 1}'))
        status, headers, body = await client.reply()
        assert (status, body) == (200, b'{"key": 1}')
        assert headers["lambda-runtime-aws-request-id"] == ID
        assert headers["lambda-runtime-deadline-ms"] == "1700000000000"
        assert headers["lambda-runtime-invoked-function-arn"].endswith(":function:fn")
        assert headers["lambda-runtime-trace-id"] == "Root=1"
        assert json.loads(headers["lambda-runtime-client-context"]) == {"a": 1}
        assert events.ready == 1
        client.writer.write(NEXT)  # again, unanswered: the same event
        assert (await client.reply())[2] == b'{"key": 1}'
        assert await client.post(f"invocation/{ID}/response", b"raw \xff") == (202, {"status": "OK"})
        assert events.responses == [RuntimeResponse(b"raw \xff")]


async def test_wrong_calls_get_the_documents_of_aws() -> None:
    async with serving() as (api, events, client):
        assert await client.post(f"invocation/{ID}/response", b"1") == (403, FORBIDDEN)
        client.writer.write(NEXT)
        api.runtime.invoke(invocation())
        await client.reply()
        assert await client.post("invocation/other/response", b"1") == (
            400,
            {"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"},
        )
        assert await client.post(f"invocation/{ID}/response", b"1", "Lambda-Runtime-Function-Response-Mode: odd") == (
            400,
            {"errorMessage": "Invalid function response mode", "errorType": "InvalidFunctionResponseMode"},
        )
        assert (await client.post("init/error", b"{}"))[0] == 403
        assert (await client.post("nothing", b"{}"))[0] == 404
        assert (await client.post("invocation/next", b"{}"))[0] == 405
        assert events.responses == []
        status, _ = await client.post(f"invocation/{ID}/error", b'{"errorType": "Mine"}')
        assert status == 202
        assert events.responses == [RuntimeResponse(b'{"errorType": "Mine"}', error_type="Mine")]
        assert (await client.post(f"invocation/{ID}/response", b"1"))[0] == 403


async def test_an_answer_over_the_limit_is_refused_and_reported_with_its_size() -> None:
    async with serving() as (api, events, client):
        client.writer.write(NEXT)
        api.runtime.invoke(invocation())
        await client.reply()
        assert await client.post(f"invocation/{ID}/response", b"a" * 6_291_557) == (
            413,
            {"errorMessage": "Exceeded maximum allowed payload size (6291556 bytes).", "errorType": "RequestEntityTooLarge"},
        )
        assert events.responses == [RuntimeResponse(b"", too_large_bytes=6_291_557)]


async def test_an_answer_that_ends_early_is_truncated() -> None:
    async with serving() as (api, events, client):
        client.writer.write(NEXT)
        api.runtime.invoke(invocation())
        await client.reply()
        client.writer.write(
            f"POST /2018-06-01/runtime/invocation/{ID}/response HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf".encode()
        )
        client.writer.write_eof()
        status, _, body = await client.reply()
        assert (status, json.loads(body)["errorType"]) == (400, "TruncatedHTTPRequest")
        assert events.responses == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\n" + b"A: " + b"b" * 1_300_000 + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_not_http_is_refused_and_hung_up_on(data: bytes, status: int) -> None:
    async with serving() as (_api, _events, client):
        client.writer.write(data)
        answered, _, _ = await client.reply()
        assert answered == status
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionResetError):  # What it sent besides was not read.
                assert await client.reader.read() == b""


async def test_connections_are_bounded() -> None:
    async with serving() as (_api, _events, client):
        port = client.writer.get_extra_info("peername")[1]
        more = [await asyncio.open_connection("127.0.0.1", port) for _ in range(70)]
        async with asyncio.timeout(PATIENCE_S):
            assert await client.reader.read() == b""  # the oldest had to go
        for _reader, writer in more:
            writer.close()


def test_the_v2_control_files_are_written_as_the_kernel_wants_them(tmp_path: Path) -> None:
    for name in ("memory.max", "cpu.max", "cpu.weight", "pids.max"):
        (tmp_path / name).write_text("")
    (tmp_path / "memory.current").write_text("4096\n")
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n")
    folder = str(tmp_path)
    cgroup_v2.set_memory_limit(folder, 128 * 1024**2)
    cgroup_v2.set_cpu_period(folder, 20_000)
    assert (tmp_path / "cpu.max").read_text() == "max 20000"
    cgroup_v2.set_cpu_quota(folder, 10_000)
    assert (tmp_path / "cpu.max").read_text().startswith("10000")
    cgroup_v2.set_cpu_share(folder, 0.5)
    cgroup_v2.set_processes_limit(folder, 1_024)
    cgroup_v2.reset_peak(folder)
    assert (tmp_path / "memory.max").read_text() == str(128 * 1024**2)
    assert (tmp_path / "cpu.weight").read_text() == "50"
    assert (tmp_path / "pids.max").read_text() == "1024"
    assert cgroup_v2.peak_bytes(folder) == 4_096
    assert cgroup_v2.out_of_memory_kills(folder) == 2


STREAM = (
    f"POST /2018-06-01/runtime/invocation/{ID}/response HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    "Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: text/plain\r\n\r\n"
).encode()


@asynccontextmanager
async def streaming() -> AsyncIterator[tuple[SandboxApi, Events, Client, Pieces]]:
    """A runtime that has been handed an event and has begun to stream."""
    async with serving() as (api, events, client):
        events.pieces = Pieces()
        client.writer.write(NEXT)
        api.runtime.invoke(invocation())
        await client.reply()
        client.writer.write(STREAM + b"5\r\nfirst\r\n")
        await until(lambda: events.pieces is not None and events.pieces.data == b"first", "the first piece")
        yield api, events, client, events.pieces


async def test_a_streamed_response_is_passed_on_while_it_comes() -> None:
    async with streaming() as (_, events, client, pieces):
        assert pieces.content_type == "text/plain"
        assert not events.responses, "it has not ended"
        client.writer.write(b"4\r\nmore\r\n0\r\n\r\n")
        assert (await client.reply())[0] == 202
        assert pieces.data == b"firstmore"
        assert events.responses == [RuntimeResponse(b"")]


async def test_trailers_say_that_a_streamed_response_failed_in_the_middle() -> None:
    async with streaming() as (_, events, client, _pieces):
        document = b'{"errorType":"Late","errorMessage":"x"}'
        client.writer.write(
            b"0\r\nLambda-Runtime-Function-Error-Type: Late\r\nLambda-Runtime-Function-Error-Body: %b\r\n\r\n"
            % base64.b64encode(document)
        )
        assert (await client.reply())[0] == 202
        assert events.responses == [RuntimeResponse(document, error_type="Late")]


async def test_a_streamed_response_that_breaks_off_is_an_error() -> None:
    async with streaming() as (_, events, client, _pieces):
        client.writer.write_eof()
        await until(lambda: events.responses, "an answer")
        assert events.responses[0].error_type == "Runtime.TruncatedResponse"


async def test_a_runtime_that_streams_has_answered_and_cannot_answer_again() -> None:
    async with streaming() as (api, events, client, pieces):
        host, port = client.writer.get_extra_info("peername")
        reader, writer = await asyncio.open_connection(host, port)
        assert (await Client(reader, writer).post(f"invocation/{ID}/response", b"1"))[0] == 403
        writer.close()
        assert api.runtime.state is State.RESPONSE_SENT
        assert pieces.data == b"first"
        assert not events.responses


async def test_a_paused_stream_is_not_read() -> None:
    async with streaming() as (_, _events, client, pieces):
        assert pieces.flow is not None
        pieces.flow.pause()
        client.writer.write(b"5\r\nlater\r\n")
        await asyncio.sleep(0.05)
        assert pieces.data == b"first"
        pieces.flow.resume()
        await until(lambda: pieces.data == b"firstlater", "what came while it was paused")


async def test_where_nobody_takes_pieces_a_streamed_response_is_a_whole_one() -> None:
    async with serving() as (api, events, client):
        client.writer.write(NEXT)
        api.runtime.invoke(invocation())
        await client.reply()
        client.writer.write(STREAM + b"5\r\nfirst\r\n0\r\n\r\n")
        assert (await client.reply())[0] == 202
        assert events.responses == [RuntimeResponse(b"first")]


@asynccontextmanager
async def another(client: Client) -> AsyncIterator[Client]:
    host, port = client.writer.get_extra_info("peername")
    reader, writer = await asyncio.open_connection(host, port, limit=8 * 1024 * 1024)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def test_an_event_is_given_to_one_connection_and_to_another_once_that_is_gone() -> None:
    async with serving() as (api, _events, client), another(client) as other:
        client.writer.write(NEXT)
        api.runtime.invoke(invocation(b"7"))
        assert (await client.reply())[2] == b"7"
        other.writer.write(NEXT)
        status, _, document = await other.reply()
        assert (status, json.loads(document)["errorType"]) == (403, "InvalidStateTransition")
        client.writer.close()
        await client.writer.wait_closed()
        await until(lambda: len(api._connections) == 1, "the end of the first")
        other.writer.write(NEXT)
        assert (await other.reply())[2] == b"7"


async def test_an_event_that_is_asked_for_and_not_read_is_held_once() -> None:
    megabytes = 5_900_000
    async with serving() as (api, _events, client):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.writer.write(NEXT)
        payload = bytes(megabytes)
        await until(lambda: api.runtime._waiting is not None, "the first call")
        api.runtime.invoke(invocation(payload))
        memory = psutil.Process().memory_info().rss
        client.writer.write(NEXT * 150)
        (connection,) = api._connections
        await until(lambda: connection._unparsed or connection._queued, "the next calls")
        assert psutil.Process().memory_info().rss - memory < 10 * 1024 * 1024
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(3):
            assert len((await client.reply())[2]) == megabytes


async def test_one_body_is_held_and_others_are_read_away_and_refused() -> None:
    async with serving() as (api, events, client):
        client.writer.write(NEXT)
        api.runtime.invoke(invocation())
        await client.reply()
        half = 3_000_000
        head = f"POST /2018-06-01/runtime/invocation/{ID}/response HTTP/1.1\r\nHost: a\r\nContent-Length: {2 * half}\r\n\r\n".encode()
        memory = psutil.Process().memory_info().rss
        client.writer.write(head + b"a" * half)
        await client.writer.drain()
        async with AsyncExitStack() as stack:
            others = [await stack.enter_async_context(another(client)) for _ in range(10)]
            await until(lambda: api.runtime._answering is not None, "the first answer's head")
            for each in others:
                each.writer.write(head + b"b" * half)
                await each.writer.drain()
            assert psutil.Process().memory_info().rss - memory < 30 * 1024 * 1024
            others[0].writer.write(b"b" * half)
            assert (await others[0].reply())[0] == 403
        assert not events.responses
        client.writer.write(b"a" * half)
        assert (await client.reply())[0] == 202
        assert events.responses == [RuntimeResponse(b"a" * 2 * half)]


async def test_a_body_that_nobody_asked_for_is_not_held() -> None:
    async with serving() as (api, _events, client):
        client.writer.write(
            b"POST /2018-06-01/runtime/invocation/old/response HTTP/1.1\r\nContent-Length: 6000000\r\n\r\n" + b"x" * 5_999_999
        )
        await client.writer.drain()
        (connection,) = api._connections
        await until(lambda: connection._request is not None and connection._request.body_size > 5_000_000, "the body")
        assert sum(map(len, connection._body)) == 0
        client.writer.write(b"x")
        assert (await client.reply())[0] == 403


async def test_heads_are_bounded_together_and_one_that_never_ends_is_cut_off() -> None:
    async with serving() as (_api, _events, client), AsyncExitStack() as stack:
        others = [await stack.enter_async_context(another(client)) for _ in range(4)]
        for each in others:
            each.writer.write(b"GET /ping HTTP/1.1\r\nA: " + b"b" * 1_100_000)
        refused = 0

        async def wait_for_refusal(one: Client) -> None:
            nonlocal refused
            with contextlib.suppress(ConnectionError):
                refused += (await one.reply())[0] == 431

        waits = [asyncio.create_task(wait_for_refusal(each)) for each in others]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        assert refused >= 1
        client.writer.write(b"GET /2018-06-01/ping HTTP/1.1\r\n\r\n")
        assert (await client.reply())[2] == b"pong"


async def test_calls_without_end_are_answered_at_a_rate_and_an_invocation_does_not_wait_for_them() -> None:
    ping = b"GET /2018-06-01/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    answered = 0
    async with serving() as (api, _events, client), another(client) as flood:

        async def read_away() -> None:
            nonlocal answered
            while await flood.reply():
                answered += 1

        async def write() -> None:
            while True:
                flood.writer.write(ping * 200)
                await flood.writer.drain()

        tasks = [asyncio.create_task(read_away()), asyncio.create_task(write())]
        began = time.monotonic()
        await until(lambda: answered > 1_000, "answers")
        for number in range(5):
            client.writer.write(NEXT)
            api._budget.invoked()
            api.runtime.invoke(invocation(b"%d" % number))
            assert (await client.reply())[2] == b"%d" % number
            assert (await client.post(f"invocation/{ID}/response", b"1"))[0] == 202
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        took_s = time.monotonic() - began
    steps = STEPS_SAVED_MAX + STEPS_A_SECOND * took_s + 6 * INVOCATION_STEPS
    assert answered <= steps / REQUEST_STEPS * 1.2


async def test_connections_without_end_are_taken_at_a_rate() -> None:
    async with serving() as (api, _events, client):
        host, port = client.writer.get_extra_info("peername")
        opened = 0

        def knock() -> None:
            nonlocal opened
            for _ in range(1_000):
                with socket.socket() as one:
                    one.settimeout(0.01)
                    with contextlib.suppress(OSError):
                        one.connect((host, port))
                        opened += 1

        began = time.monotonic()
        await asyncio.to_thread(knock)
        took_s = time.monotonic() - began
        assert opened
        assert len(api._connections) <= CONNECTIONS_MAX
        assert api._budget._own._saved >= -2 * CONNECTION_STEPS * CONNECTIONS_MAX, took_s


async def test_the_smallest_pieces_of_a_stream_are_passed_on_together() -> None:
    async with streaming() as (_, events, client, pieces):
        writes = 0
        passed_on = pieces.write

        def write(data: bytes) -> None:
            nonlocal writes
            writes += 1
            passed_on(data)

        pieces.write = write  # type: ignore[method-assign]
        client.writer.write(b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
        assert (await client.reply())[0] == 202
        assert pieces.data == b"first" + b"x" * 20_000
        assert writes < 200
        assert events.responses == [RuntimeResponse(b"")]


async def test_a_connection_is_closed_where_its_caller_says_so() -> None:
    """Clients that say so and keep it nevertheless (Node.js) would send their next call to a parser that takes none."""
    async with serving() as (_api, _events, client):
        client.writer.write(b"GET /2018-06-01/ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        status, headers, body = await client.reply()
        assert (status, headers["connection"], body) == (200, "close", b"pong")
        async with asyncio.timeout(PATIENCE_S):
            assert await client.reader.read() == b""
