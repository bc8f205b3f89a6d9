"""The caller's end against a worker that knows the secret and misbehaves; and the whole path on uvloop, as services run it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import cast

import pytest
import uvloop
from redis.asyncio import Redis

from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import Lease, Version
from shared.dispatch.wire.connection import GONE, RESPONSE_BYTES_BOUND, InvocationRefusedError, NotSentError, WorkerConnection
from shared.dispatch.wire.frames import FrameDecoder, Handshake, HandshakeError, encode_credit, encode_frame, encode_result
from shared.dispatch.wire.messages import FRAME_BYTES_MAX, PREFIX, FrameType, InvokeHeader, ResultHeader, WireError
from shared.domain.errors import InvocationLostError
from shared.domain.invocations import Invocation
from shared.settings import Settings
from tests.integration.dispatch.conftest import Cell, RedisProcess, target
from tests.integration.dispatch.toy_worker import ToyWorker
from tests.support import PATIENCE_S

SECRET = b"secret"


class Hostile(asyncio.Protocol):
    """Shakes hands, then answers the first INVOKE with given bytes."""

    def __init__(self, answer: bytes, secret: bytes = SECRET, hello: bytes | None = None) -> None:
        self.answer = answer
        self.hello = hello
        self.decoder = FrameDecoder()
        self.handshake = Handshake(secret, caller=False, role="worker", instance="hostile")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.hello is not None:
            self.transport.write(self.hello)

    def data_received(self, data: bytes) -> None:
        if self.hello is not None:
            return
        for frame in self.decoder.feed(data):
            if self.handshake.done:
                self.transport.write(self.answer)
            else:
                try:
                    self.transport.write(self.handshake.receive(frame))
                except HandshakeError:
                    self.transport.close()


async def against(make: Callable[[], Hostile], timeout_s: float = PATIENCE_S) -> WorkerConnection[Lease]:
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    try:
        return await WorkerConnection.connect(
            f"127.0.0.1:{server.sockets[0].getsockname()[1]}",
            secret=SECRET,
            role="frontend",
            instance="test",
            timeout_s=timeout_s,
            on_end=lambda lease, outcome: ended.append(outcome),
            on_lost=lambda connection: None,
        )
    finally:
        server.close()


ended: list[bytes] = []


def lease() -> Lease:
    return Lease(Version(target(), Keys("0"), "h", 10), b"1-1@w#1.1", "u", True, False, "")


def invoke(connection: WorkerConnection[Lease]) -> asyncio.Future[tuple[ResultHeader, bytes]]:
    """Sent at once; what comes of it."""
    header = InvokeHeader(1, 1, "1-1", "f1:1", "r", "arn", 0, 2)
    answer: asyncio.Future[tuple[ResultHeader, bytes]] = asyncio.get_running_loop().create_future()

    def on_result(header: ResultHeader | None, response: bytes, error: Exception | None) -> None:
        if header is not None:
            answer.set_result((header, response))
        elif error is not None:
            answer.set_exception(error)

    connection.invoke(lease(), header, b"{}", 5.0, on_result)
    return answer


BROKEN = {
    "unknown type": PREFIX.pack(5, 77, 1),
    "huge length": PREFIX.pack(2**31, FrameType.DATA, 1),
    "stream never opened": encode_frame(FrameType.DATA, 99, b"x"),
    "stream zero": encode_frame(FrameType.RESULT, 0, b"x"),
    "a type for workers": encode_frame(FrameType.INVOKE, 1, b"x"),
    "hello again": encode_frame(FrameType.HELLO, 1, b"x"),
    "unreadable result": encode_frame(FrameType.RESULT, 1, b"\x00\x00\x00\x02\xff\xff"),
    "short result": encode_frame(FrameType.RESULT, 1, b"\x00"),
    "unreadable refusal": encode_frame(FrameType.REFUSED, 1, b"\xc1"),
    "unreadable end of a response": encode_frame(FrameType.BROKEN, 1, b"\xc1"),
    "size that does not agree": encode_result(1, ResultHeader(True, 99), b"x"),
    "empty data": encode_frame(FrameType.DATA, 1, b""),
    "data over the window": encode_frame(FrameType.DATA, 1, b"x" * 262_144) * (RESPONSE_BYTES_BOUND // 262_144 + 2),
    "bad credit": encode_frame(FrameType.CREDIT, 1, b"xyz"),
}


@pytest.mark.parametrize("what", list(BROKEN))
async def test_a_worker_that_breaks_the_protocol_is_cut_and_its_invocations_are_lost(what: str) -> None:
    ended.clear()
    connection = await against(lambda: Hostile(BROKEN[what]))
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(InvocationLostError):
            await invoke(connection)
    assert connection.closed
    assert len(ended) == 1, "the lease comes back exactly once"
    with pytest.raises(NotSentError):
        await invoke(connection)
    assert ended[1:] == [GONE], "that of what could not be sent too"


async def test_the_lease_of_an_invocation_that_is_too_large_to_be_sent_comes_back() -> None:
    ended.clear()
    connection = await against(lambda: Hostile(b""))
    header = InvokeHeader(1, 1, "1-1", "f1:1", "r", "arn", 0, 2, client_context="x" * FRAME_BYTES_MAX)
    with pytest.raises(WireError):
        connection.invoke(lease(), header, b"{}", 5.0, lambda header, response, error: None)
    assert ended == [GONE]
    assert not connection.closed
    connection.close()


async def test_late_frames_of_an_ended_stream_are_ignored() -> None:
    done = encode_result(1, ResultHeader(True, 1), b"x")
    late = encode_frame(FrameType.DATA, 1, b"x") + encode_credit(1, 5) + done
    connection = await against(lambda: Hostile(done + late))
    async with asyncio.timeout(PATIENCE_S):
        assert (await invoke(connection))[1] == b"x"
    connection.close()


async def test_random_answers_end_every_invocation() -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(60):
        kind = chance.choice([*FrameType, FrameType.RESULT, FrameType.REFUSED, FrameType.BROKEN])
        body = chance.randbytes(chance.randrange(60))
        junk = chance.choice([encode_frame(kind, chance.choice([0, 1, 2]), body), chance.randbytes(40)])
        connection = await against(lambda junk=junk: Hostile(junk))
        future = invoke(connection)
        try:
            async with asyncio.timeout(0.02):
                await asyncio.shield(future)
        except (InvocationLostError, InvocationRefusedError, TimeoutError):
            pass
        connection.abort("the test is over")
        await asyncio.wait({future}, timeout=PATIENCE_S)
        assert future.done(), seed
        future.exception()


@pytest.mark.parametrize(
    "hello",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", PREFIX.pack(5000, FrameType.HELLO, 0), encode_frame(FrameType.RESULT, 1, b"x")],
)
async def test_what_is_no_worker_is_no_connection(hello: bytes) -> None:
    with pytest.raises(HandshakeError if hello[4] == FrameType.RESULT else Exception):
        await against(lambda: Hostile(b"", hello=hello))


async def test_a_worker_that_does_not_hold_the_secret_is_no_connection() -> None:
    with pytest.raises((HandshakeError, ConnectionError)):
        await against(lambda: Hostile(b"", secret=b"another"))


async def test_silence_instead_of_a_handshake_is_cut_off() -> None:
    with pytest.raises(TimeoutError):
        await against(lambda: Hostile(b"", hello=b""), timeout_s=0.3)


async def test_random_bytes_at_a_workers_port_harm_nobody(cell: Cell) -> None:
    worker = await cell.worker()
    dispatcher = await cell.dispatcher()
    chance = random.Random(4)
    for _ in range(30):
        async with asyncio.timeout(PATIENCE_S):
            _, writer = await asyncio.open_connection("127.0.0.1", worker.port)
        writer.write(chance.randbytes(chance.randrange(1, 2_000)))
        writer.close()
    result = await dispatcher.invoke(target(), Invocation("r", b'{"do": "echo"}'), wait_s=PATIENCE_S)
    assert result.function_error is None


def test_the_whole_path_works_on_uvloop(redis_process: RedisProcess, settings: Settings) -> None:
    if redis_process.process is None:
        redis_process.start()

    async def main() -> None:
        redis = Redis.from_url(redis_process.url)
        await redis.flushall()
        cell = Cell(settings, redis)
        await cell.scheduler()
        worker: ToyWorker = await cell.worker()
        dispatcher = await cell.dispatcher()
        big = Invocation("r", b'{"do": "echo", "x": "%b"}' % (b"y" * 3_000_000))
        assert (await dispatcher.invoke(target(), big, wait_s=PATIENCE_S)).payload == big.payload
        assert len(worker.ran) == 1
        await cell.close()
        await redis.aclose()

    uvloop.run(main())
