"""The dispatch port: who may use which environment, large events and responses, and peers that misbehave."""

from __future__ import annotations

import asyncio
import os

import msgspec
import pytest

from services.worker.callers import connection as caller_connection
from shared.dispatch.wire.frames import encode_frame, encode_invoke, encode_stop
from shared.dispatch.wire.messages import Broken, FrameType, Refusal, RefusalReason, StopEnvironments
from tests.integration.worker.cluster import Answer, Caller, TestWorker, header_for, until
from tests.integration.worker.process_sandbox import ProcessPool
from tests.support import PATIENCE_S

ECHO = "def handler(event, context):\n    return event\n"
SLEEP = "import time\ndef handler(event, context):\n    time.sleep(event or 0)\n    return 'done'\n"


async def test_an_environment_nobody_started_is_unknown(worker: TestWorker, caller: Caller) -> None:
    refusal = await caller.refusal(worker.function(ECHO), "e-nowhere")
    assert (refusal.reason, refusal.gone) == (RefusalReason.UNKNOWN_ENVIRONMENT, True)


async def test_an_older_lease_is_refused_and_the_same_or_a_newer_one_is_not(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(ECHO)
    await caller.answer(spec, "e-1", cold=True, epoch=2, fence=5)
    for epoch, fence in ((2, 4), (1, 99)):
        refusal = await caller.refusal(spec, "e-1", epoch=epoch, fence=fence)
        assert (refusal.reason, refusal.gone) == (RefusalReason.STALE_FENCE, False)
    await caller.answer(spec, "e-1", epoch=2, fence=5)
    await caller.answer(spec, "e-1", epoch=3, fence=1)
    assert (await caller.refusal(spec, "e-1", epoch=2, fence=100)).reason == RefusalReason.STALE_FENCE


async def test_leases_of_an_epoch_before_the_workers_own_are_refused(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(ECHO)
    await caller.answer(spec, "e-1", cold=True, epoch=1)
    worker.epoch = 2
    assert (await caller.refusal(spec, "e-1", epoch=1, fence=9)).reason == RefusalReason.STALE_FENCE
    assert (await caller.refusal(spec, "e-2", cold=True, epoch=1, fence=9)).reason == RefusalReason.STALE_FENCE
    await caller.answer(spec, "e-1", epoch=2)


async def test_a_busy_environment_runs_one_invocation_at_a_time(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(SLEEP)
    payload = b"0.4"
    _, first = caller.send(header_for(spec, "e-1", payload, cold=True), payload)
    refusal = await caller.refusal(spec, "e-1")
    assert (refusal.reason, refusal.gone) == (RefusalReason.BUSY, False)
    refusal = await caller.refusal(spec, "e-1", cold=True)
    assert refusal.reason == RefusalReason.BUSY
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await first, Answer)


async def test_an_environment_never_runs_another_version(worker: TestWorker, caller: Caller) -> None:
    spec, other = worker.function(ECHO), worker.function(SLEEP)
    await caller.answer(spec, "e-1", cold=True)
    refusal = await caller.refusal(other, "e-1", fence=2)
    assert refusal.reason == RefusalReason.UNKNOWN_ENVIRONMENT


async def test_there_is_room_for_so_many_and_eviction_makes_more(worker: TestWorker, caller: Caller, pool: ProcessPool) -> None:
    spec = worker.function(ECHO)
    for n in range(4):
        await caller.answer(spec, f"e-{n}", cold=True)
    refusal = await caller.refusal(spec, "e-4", cold=True)
    assert (refusal.reason, refusal.gone) == (RefusalReason.NO_ROOM, True)
    assert (await caller.answer(spec, "e-4", "x", cold=True, evict=("e-1",))).json() == "x"
    await until(lambda: pool.made[1].destroyed)
    assert {report.environment_id for report in worker.fleet.inventory()} == {"e-0", "e-2", "e-3", "e-4"}
    await until(lambda: worker.gone == ["e-1"])


async def test_eviction_spares_what_is_busy(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(SLEEP)
    for n in range(4):
        await caller.answer(spec, f"e-{n}", cold=True)
    payload = b"0.5"
    _, running = caller.send(header_for(spec, "e-1", payload, cold=False), payload)
    refusal = await caller.refusal(spec, "e-4", cold=True, evict=("e-1",))
    assert refusal.reason == RefusalReason.NO_ROOM
    async with asyncio.timeout(PATIENCE_S):
        answer = await running
    assert isinstance(answer, Answer)
    assert answer.json() == "done"
    assert not answer.header.reusable


async def test_stop_ends_idle_environments_and_forgets_unknown_ones(
    worker: TestWorker, caller: Caller, pool: ProcessPool
) -> None:
    spec = worker.function(ECHO)
    await caller.answer(spec, "e-1", cold=True)
    caller.writer.write(encode_stop(StopEnvironments(("e-1", "e-unknown"))))
    await until(lambda: worker.gone == ["e-1"])
    assert pool.made[0].destroyed
    assert (await caller.refusal(spec, "e-1")).reason == RefusalReason.UNKNOWN_ENVIRONMENT


async def test_a_draining_worker_refuses_what_is_new_and_finishes_what_runs(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(SLEEP)
    await caller.answer(spec, "e-1", cold=True)
    payload = b"0.3"
    _, running = caller.send(header_for(spec, "e-1", payload, cold=False), payload)
    await until(lambda: worker.server.running == 1)
    draining = asyncio.create_task(worker.server.drain(PATIENCE_S))
    await asyncio.sleep(0)
    assert (await caller.refusal(spec, "e-2", cold=True)).reason == RefusalReason.DRAINING
    async with asyncio.timeout(PATIENCE_S):
        await draining
        answer = await running
    assert isinstance(answer, Answer)
    assert (await caller.refusal(spec, "e-1")).reason == RefusalReason.DRAINING


async def test_draining_cancels_what_does_not_end(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(SLEEP, timeout_s=120)
    payload = b"100"
    _, running = caller.send(header_for(spec, "e-1", payload, cold=True), payload)
    await until(lambda: worker.server.running == 1)
    async with asyncio.timeout(PATIENCE_S):
        await worker.server.drain(0.3)
    assert worker.server.running == 0
    async with asyncio.timeout(PATIENCE_S):
        await running


async def test_events_and_responses_beyond_one_window_pass(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(ECHO, timeout_s=15)
    text = "a" * 1_400_000
    answer = await caller.answer(spec, "e-1", text, cold=True)
    assert answer.json() == text
    quarter = "b" * (256 * 1024 - 2)
    for exact in (quarter, quarter + "c", quarter[:-1]):
        assert (await caller.answer(spec, "e-1", exact)).json() == exact


async def test_a_large_response_does_not_hold_up_others_on_the_connection(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function("def handler(event, context):\n    return 'a' * event\n")
    await caller.answer(spec, "e-1", 1, cold=True)
    await caller.answer(spec, "e-2", 1, cold=True)
    caller.give_credit = False
    stream, large = caller.send(header_for(spec, "e-1", b"5000000", cold=False), b"5000000")
    assert (await caller.answer(spec, "e-2", 3)).json() == "aaa"
    assert not large.done()
    await until(lambda: not any(report.busy for report in worker.fleet.inventory()))
    # The environment is free again while its response still waits for credit.
    assert (await caller.answer(spec, "e-1", 3)).json() == "aaa"
    caller.cancel(stream)
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await large, Broken)
    assert (await caller.answer(spec, "e-1", 3)).json() == "aaa"


async def test_cancelling_while_the_event_still_arrives_leaves_the_environment_idle(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(ECHO)
    await caller.answer(spec, "e-1", cold=True)
    payload = b'"' + b"x" * 1_000_000 + b'"'
    stream, future = caller.send(header_for(spec, "e-1", payload, cold=False), payload, whole=False)
    await until(lambda: worker.server.running == 1)
    caller.cancel(stream)
    async with asyncio.timeout(PATIENCE_S):
        refused = await future
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.gone) == (RefusalReason.CANCELLED, False)
    assert (await caller.answer(spec, "e-1", 1)).json() == 1


async def test_a_cold_start_that_is_cancelled_is_gone(worker: TestWorker, caller: Caller, pool: ProcessPool) -> None:
    spec = worker.function("import time\ntime.sleep(100)\n" + ECHO)
    payload = b"1"
    stream, future = caller.send(header_for(spec, "e-1", payload, cold=True), payload)
    await until(lambda: pool.made and pool.made[0].starts == 1)
    caller.cancel(stream)
    async with asyncio.timeout(PATIENCE_S):
        refused = await future
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.gone) == (RefusalReason.CANCELLED, True)
    await until(lambda: pool.made[0].destroyed)


async def test_a_caller_that_never_sends_the_rest_of_its_event_is_refused(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_connection, "STALL_TIMEOUT_S", 0.2)
    spec = worker.function(ECHO)
    payload = b"x" * 1_000_000
    _, future = caller.send(header_for(spec, "e-1", payload, cold=True), payload, whole=False)
    async with asyncio.timeout(PATIENCE_S):
        refused = await future
    assert isinstance(refused, Refusal)
    assert refused.reason == RefusalReason.CANCELLED


async def test_a_deadline_that_has_passed_starts_nothing(worker: TestWorker, caller: Caller, pool: ProcessPool) -> None:
    refusal = await caller.refusal(worker.function(ECHO), "e-1", cold=True, deadline_ms=1)
    assert (refusal.reason, refusal.gone) == (RefusalReason.CANCELLED, True)
    assert not pool.made


async def test_a_runtime_that_is_not_there_is_named(worker: TestWorker, caller: Caller) -> None:
    refusal = await caller.refusal(worker.function(ECHO, runtime="cobol85"), "e-1", cold=True)
    assert (refusal.reason, refusal.gone) == (RefusalReason.UNSUPPORTED_RUNTIME, True)
    assert "cobol85" in refusal.detail


async def test_a_function_for_another_architecture_is_refused_and_the_workers_own_is_told(
    worker: TestWorker, caller: Caller
) -> None:
    refusal = await caller.refusal(worker.function(ECHO, architecture="arm64"), "e-1", cold=True)
    assert (refusal.reason, refusal.gone) == (RefusalReason.UNSUPPORTED_RUNTIME, True)
    assert refusal.detail == "this worker is x86_64"


async def test_a_package_that_is_missing_is_a_refusal(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(ECHO)
    worker.packages.stored = {}
    refusal = await caller.refusal(spec, "e-1", cold=True)
    assert (refusal.reason, refusal.gone) == (RefusalReason.FAILED, True)
    assert len(worker.fleet) == 0


async def test_a_package_that_must_not_be_unpacked_is_a_refusal_of_its_own(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(ECHO)
    worker.packages.stored = {spec.code_sha256: b"no zip"}
    for environment_id in ("e-1", "e-2"):
        refusal = await caller.refusal(spec, environment_id, cold=True)
        assert (refusal.reason, refusal.gone) == (RefusalReason.PACKAGE_REFUSED, True)
        assert "not a zip" in refusal.detail
    assert len(worker.fleet) == 0


async def test_ping_is_answered(worker: TestWorker, caller: Caller) -> None:
    caller.frame(FrameType.PING, 0)
    await until(lambda: caller.pongs == 1)


async def test_a_wrong_secret_gets_no_further_than_the_handshake(worker: TestWorker) -> None:
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(PATIENCE_S):
            await Caller.connect(worker.server.port, secret="guessed")
    await until(lambda: not worker.server.connections)
    assert worker.server.unauthenticated == 0


async def test_an_unauthenticated_peer_is_cut_off_after_a_while(worker: TestWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_connection, "HANDSHAKE_TIMEOUT_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.server.port)
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.read() == b""
    writer.close()
    assert worker.server.unauthenticated == 0


async def test_only_so_many_may_be_unauthenticated_at_once(worker: TestWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_connection, "UNAUTHENTICATED_MAX", 3)
    patient = [await asyncio.open_connection("127.0.0.1", worker.server.port) for _ in range(3)]
    await until(lambda: worker.server.unauthenticated == 3)
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.server.port)
    async with asyncio.timeout(PATIENCE_S):
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
    for _, each in [*patient, (reader, writer)]:
        each.close()
    await until(lambda: worker.server.unauthenticated == 0)


async def test_a_large_frame_before_the_handshake_is_not_waited_for(worker: TestWorker) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.server.port)
    writer.write(encode_frame(FrameType.HELLO, 0, os.urandom(4_096))[:64])
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.read() == b""
    writer.close()


def _huge_event(spec):  # type: ignore[no-untyped-def]
    return encode_invoke(1, header_for(spec, "e-1", b"x", cold=True, payload_bytes=6 * 1024 * 1024 + 1), b"x")


@pytest.mark.parametrize(
    "violation",
    [
        lambda spec: encode_frame(FrameType.HELLO, 0, b"again"),
        lambda spec: encode_frame(FrameType.RESULT, 1, b""),
        lambda spec: encode_frame(FrameType.REFUSED, 1, b""),
        lambda spec: encode_frame(FrameType.BROKEN, 1, b""),
        lambda spec: encode_frame(FrameType.INVOKE, 1, b""),
        lambda spec: encode_frame(FrameType.INVOKE, 1, b"\xff\xff\xff\xff"),
        lambda spec: encode_frame(FrameType.DATA, 7, b"x"),
        lambda spec: encode_frame(FrameType.CANCEL, 7),
        lambda spec: encode_frame(FrameType.CREDIT, 7, b"\0\0\0\1"),
        lambda spec: encode_frame(FrameType.STOP, 0, b"\xc1"),
        lambda spec: b"\xff" * 9,
        lambda spec: b"\0\0\0\x05\x63\0\0\0\0",
        lambda spec: b"\0\0\0\0\0\0\0\0\0",
        _huge_event,
        lambda spec: encode_invoke(0, header_for(spec, "e-1", b"1", cold=True), b"1"),
        lambda spec: encode_invoke(1, header_for(spec, "e-1", b"1", cold=True), b"1") * 2,
        lambda spec: (
            encode_invoke(1, header_for(spec, "e-1", b"1", cold=True), b"1") + encode_frame(FrameType.DATA, 1, b"more")
        ),
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_cut_off_and_others_are_not(worker: TestWorker, violation) -> None:  # type: ignore[no-untyped-def]
    spec = worker.function(ECHO)
    bystander = await Caller.connect(worker.server.port, instance="bystander")
    rogue = await Caller.connect(worker.server.port, instance="rogue")
    rogue.writer.write(violation(spec))
    async with asyncio.timeout(PATIENCE_S):
        try:
            await rogue._reading
        except KeyError:
            pass  # an answer on a stream that the test's caller does not know
    rogue.writer.close()
    await until(lambda: worker.server.running == 0)
    assert (await bystander.answer(spec, "e-9", 1, cold=True)).json() == 1
    await bystander.close()


async def test_a_caller_that_reads_nothing_is_cut_off_before_it_fills_the_memory(
    worker: TestWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_connection, "WRITE_BUFFER_BYTES_MAX", 5 * 1024 * 1024)
    deaf = await Caller.connect(worker.server.port)
    deaf._reading.cancel()
    deaf.reader._transport.pause_reading()  # type: ignore[attr-defined]
    ping = encode_frame(FrameType.PING, 0, bytes(60)) * 2_000
    async with asyncio.timeout(PATIENCE_S):
        while worker.server.connections:
            try:
                deaf.writer.write(ping)
                await deaf.writer.drain()
            except ConnectionError:
                break
    await until(lambda: not worker.server.connections)
    deaf.writer.close()


async def test_many_invocations_share_a_connection(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(ECHO)
    for n in range(4):
        await caller.answer(spec, f"e-{n}", cold=True)

    async def use(n: int) -> None:
        for i in range(50):
            assert (await caller.answer(spec, f"e-{n}", [n, i])).json() == [n, i]

    async with asyncio.TaskGroup() as group:
        for n in range(4):
            group.create_task(use(n))


async def test_the_inventory_tells_who_holds_what(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(SLEEP)
    await caller.answer(spec, "e-1", cold=True, epoch=3, fence=8)
    (report,) = worker.fleet.inventory()
    assert (report.environment_id, report.version_key, report.function) == ("e-1", spec.version_key, spec.counted_as)
    assert (report.busy, report.fence, report.holder) == (False, (3, 8), "frontend-test")
    payload = msgspec.json.encode(0.3)
    _, running = caller.send(header_for(spec, "e-1", payload, cold=False, epoch=3, fence=9), payload)
    await until(lambda: worker.fleet.inventory()[0].busy)
    assert worker.fleet.inventory()[0].fence == (3, 9)
    async with asyncio.timeout(PATIENCE_S):
        await running
