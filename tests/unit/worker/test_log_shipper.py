from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from prometheus_client import REGISTRY

from services.worker.telemetry import log_rates, log_shipper, log_stream
from services.worker.telemetry.log_events import EVENT_OVERHEAD_BYTES, EVENTS_AT_ONCE
from services.worker.telemetry.log_shipper import LogShipper
from services.worker.telemetry.log_stream import LogStream, log_stream_name
from shared.domain.limits import LOG_EVENT_BYTES_MAX
from shared.events.log_records import LOG_RECORD_BYTES_MAX, LogBatch, LogEvent, decode_log_batch
from shared.settings import Settings, WorkerSettings
from shared.telemetry.supervision import keep_running
from tests.support import PATIENCE_S, wait_until
from tests.unit.worker.specs import version


def new_shipper() -> LogShipper:
    return LogShipper(Settings(kafka_bootstrap_servers="127.0.0.1:1", instance="worker-t"))


def taken(stream: LogStream, *, last: bool = True) -> list[LogEvent]:
    _, pieces = stream.take(last=last)
    return [event for piece in pieces for event in piece]


def written(*chunks: bytes) -> list[str]:
    stream = new_shipper().open(version(), "e-1")
    for chunk in chunks:
        stream.append(chunk)
    return [event.message for event in taken(stream)]


def collected(ship: LogShipper) -> list[LogBatch]:
    for _ in ship.collect():
        pass
    return [decode_log_batch(record.value) for record in ship._queue]


def test_a_function_that_logs_without_end_is_held_to_its_rate_and_takes_nothing_from_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000.0
    monkeypatch.setattr(log_rates.time, "monotonic", lambda: now)
    rate = 64 * 1024
    settings = WorkerSettings(log_bytes_a_second_max=rate)
    ship = LogShipper(Settings(kafka_bootstrap_servers="127.0.0.1:1", instance="worker-t", worker=settings))
    noisy, noisy_too, quiet = (
        ship.open(version(function_name=name), f"e-{number}") for number, name in enumerate(("noisy", "noisy", "quiet"))
    )
    namesake = ship.open(version(function_name="noisy", region="eu-west-1"), "e-3")
    kept, line, before = 0, b"x" * 1_023 + b"\n", dropped("bytes")
    for second in range(20):
        now = 1_000.0 + second
        for stream in (noisy, noisy_too):
            for _ in range(256):
                stream.append(line)
        quiet.append(b"a word\n")
        namesake.append(b"a word\n")
        batches = collected(ship)
        ship._queue.clear()
        ship._queue_bytes = 0
        assert [e.message for b in batches if b.function_name == "quiet" for e in b.events] == ["a word\n"]
        assert [e.message for b in batches if b.region == "eu-west-1" for e in b.events] == ["a word\n"]
        loud = [batch for batch in batches if (batch.function_name, batch.region) == ("noisy", "us-east-1")]
        kept += sum(len(event.message) for batch in loud for event in batch.events if event.message == line.decode())
    assert kept <= rate * (20 + log_rates.SAVED_S) + 2 * len(line)
    assert kept >= rate * 20 * 0.95, "lines weigh a little more than their text"
    assert dropped("bytes") - before == 20 * 512 * 1_024 - kept
    assert any(batch.dropped for batch in loud), "the log itself does not tell"
    now = 2_000.0
    assert collected(ship) == []
    assert not ship._rates._accounts, "functions that are silent are not forgotten"


def dropped(unit: str) -> float:
    return REGISTRY.get_sample_value(f"lambdad_worker_log_dropped_{unit}_total") or 0.0


class Broker:
    """Takes records, but those for which `refuse` has an error: raised at once, or told later."""

    def __init__(self, refuse: Any = lambda value: None, *, later: bool = False) -> None:
        self.refuse = refuse
        self.later = later
        self.values: list[bytes] = []

    async def send(self, topic: str, value: bytes, key: bytes) -> asyncio.Future[object]:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        error = self.refuse(value)
        if error is None:
            self.values.append(value)
            future.set_result(None)
        elif self.later:
            future.set_exception(error)
        else:
            raise error
        return future

    @property
    def batches(self) -> list[LogBatch]:
        return [decode_log_batch(value) for value in self.values]

    @property
    def messages(self) -> list[str]:
        return [event.message for batch in self.batches for event in batch.events]


def test_a_log_stream_is_named_as_aws_names_it() -> None:
    assert re.fullmatch(r"2026/02/03/\[\$LATEST\][0-9a-f]{32}", log_stream_name("$LATEST", datetime(2026, 2, 3, tzinfo=UTC)))


def test_lines_become_events_and_blank_lines_do_not() -> None:
    assert written(b"\nmulti\nline\nstring\nanother\rline\n\n") == ["multi\n", "line\n", "string\n", "another\rline\n"]


def test_a_line_that_comes_in_pieces_is_one_event() -> None:
    assert written(b"be", b"gin", b"ning\nnext", b"\nlast") == ["beginning\n", "next\n", "last"]


def test_a_line_is_one_event_wherever_a_flush_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python's print writes it: each of its arguments by itself."""
    clock = 1_000.0
    monkeypatch.setattr(time, "time", lambda: clock)
    ship = new_shipper()
    stream = ship.open(version(), "e-1")
    for chunk in (b"one\nGOT ", b"3"):
        stream.append(chunk)
    assert [event.message for event in taken(stream, last=False)] == ["one\n"]
    assert ship.pending_bytes == len(b"GOT 3") + 2 * EVENT_OVERHEAD_BYTES
    assert not ship.is_idle()
    clock += 0.5
    for chunk in (b" records", b"\n"):
        stream.append(chunk)
    assert taken(stream, last=False) == [LogEvent(1_000_000, "GOT 3 records\n")]
    assert ship.pending_bytes == 0


def test_a_line_that_does_not_end_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1_000.0
    monkeypatch.setattr(time, "time", lambda: clock)
    stream = new_shipper().open(version(), "e-1")
    stream.append(b"50 %")
    assert taken(stream, last=False) == []
    clock += log_stream.LINE_WAIT_S / 2
    stream.append(b" ... 60 %")
    clock += log_stream.LINE_WAIT_S / 2 + 0.001
    assert [event.message for event in taken(stream, last=False)] == ["50 % ... 60 %"]
    stream.append(b"x" * (LOG_EVENT_BYTES_MAX + 1))
    assert sum(len(event.message) for event in taken(stream, last=False)) == LOG_EVENT_BYTES_MAX + 1


def test_what_a_worker_leaves_at_its_end_is_taken_with_lines_that_are_not_ended() -> None:
    ship = new_shipper()
    ship.open(version(), "e-1").append(b"no end")
    assert collected(ship) == []
    for _ in ship.collect(last=True):
        pass
    assert [event.message for record in ship._queue for event in decode_log_batch(record.value).events] == ["no end"]


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert written(b"\xff\xfe\n") == ["\ufffd\ufffd\n"]


def test_a_huge_line_becomes_several_events_and_loses_nothing() -> None:
    line = "ä€𝄞x" * 80_000
    messages = written(*(line.encode()[at : at + 65_536] for at in range(0, len(line.encode()), 65_536)), b"\nnext\n")
    assert len(messages) == 5
    assert "".join(messages) == line + "\nnext\n"
    assert all(len(message.encode()) <= LOG_EVENT_BYTES_MAX for message in messages)


def test_a_flush_makes_one_record_for_each_stream() -> None:
    ship = new_shipper()
    streams = [ship.open(version(), f"e-{n}") for n in range(2)]
    for stream in streams:
        for n in range(3):
            stream.append(f"line {n}\n".encode())
    batches = collected(ship)
    assert [b.log_stream for b in batches] == [s.name for s in streams]
    assert [e.message for e in batches[0].events] == ["line 0\n", "line 1\n", "line 2\n"]
    assert (batches[0].log_group, batches[0].region) == ("/aws/lambda/greeter", "us-east-1")


@pytest.mark.parametrize(
    "written", [b"\x01" * 240_000 + b"\n", b"\x01" * 240 + b"\n", "€".encode() * 80_000 + b"\n", b'"\\' * 120_000 + b"\n"]
)
def test_records_are_bounded_in_encoded_bytes_whatever_is_written(written: bytes) -> None:
    ship = new_shipper()
    stream = ship.open(version(), "e-1")
    whole = written * (480_000 // len(written))
    stream.append(whole)
    batches = collected(ship)
    assert max(len(record.value) for record in ship._queue) <= LOG_RECORD_BYTES_MAX
    assert "".join(event.message for batch in batches for event in batch.events) == whole.decode()


def test_many_short_lines_give_others_their_turn_in_between_and_weigh_what_they_cost() -> None:
    ship = new_shipper()
    stream = ship.open(version(), "e-1")
    for _ in range(60):
        stream.append(b"a\n" * 32_768)
    assert stream.waiting_bytes() <= log_stream.STREAM_BYTES_MAX
    _, pieces = stream.take()
    (told,), *sizes = list(pieces)
    assert told.message.startswith("LOGS_DROPPED")
    assert max(map(len, sizes)) <= 2 * EVENTS_AT_ONCE
    assert sum(map(len, sizes)) * (2 + EVENT_OVERHEAD_BYTES) <= log_stream.STREAM_BYTES_MAX


def test_a_record_of_a_runtime_is_one_event_whatever_lines_it_has() -> None:
    stream = new_shipper().open(version(), "e-1")
    stream.append(b"a line\n")
    stream.append(b"[ERROR] E\nTraceback:\n  File\n", whole=True)
    stream.append(b"two\nlines\n")
    stream.append(b"x" * (LOG_EVENT_BYTES_MAX + 10) + b"\n", whole=True)
    stream.append(b"\n", whole=True)
    messages = [event.message for event in taken(stream)]
    assert messages[:4] == ["a line\n", "[ERROR] E\nTraceback:\n  File\n", "two\n", "lines\n"]
    assert [len(message) for message in messages[4:]] == [LOG_EVENT_BYTES_MAX, 11]


def test_a_flood_loses_its_oldest_part_and_says_so() -> None:
    ship = new_shipper()
    before = dropped("bytes"), dropped("lines")
    stream = ship.open(version(), "e-1")
    line = b"x" * 1_023 + b"\n"
    for _ in range(6_000):
        stream.append(line)
    stream.append(b"the end\n")
    batches = collected(ship)
    events = [event for batch in batches for event in batch.events]
    lost = batches[0].dropped
    assert lost is not None
    assert (lost.bytes, lost.lines) == (dropped("bytes") - before[0], dropped("lines") - before[1])
    assert lost.lines + len(events) - 2 == 6_000
    assert events[0].message == (
        f"LOGS_DROPPED Dropped Bytes: {lost.bytes}\tDropped Lines: {lost.lines}\t"
        "Reason: they came faster than they could be stored\n"
    )
    assert events[-1].message == "the end\n"
    assert sum(len(e.message) for e in events) <= log_stream.STREAM_BYTES_MAX + 1_024
    assert ship.pending_bytes == 0
    assert [batch.dropped for batch in batches[1:]] == [None] * (len(batches) - 1)


def test_who_writes_little_loses_nothing_to_those_who_fill_what_all_may_hold() -> None:
    ship = new_shipper()
    quiet, *loud = [ship.open(version(), f"e-{number}") for number in range(9)]
    for stream in loud * 30:
        stream.append(b"x" * 100_000 + b"\n")
    while ship.pending_bytes < log_stream.PENDING_BYTES_MAX - EVENT_OVERHEAD_BYTES:
        loud[0].append(b"a\n")
    for _ in range(50):
        quiet.append(b"a line of its own\n")
    assert ship.pending_bytes <= log_stream.PENDING_BYTES_MAX + log_stream.QUIET_BYTES
    assert [event.message for event in taken(quiet)] == ["a line of its own\n"] * 50


def test_a_function_that_logs_json_is_told_in_json() -> None:
    ship = new_shipper()
    stream = ship.open(version(log_format="JSON"), "e-1")
    stream.dropped(1_000, 3)
    ((event,),) = (batch.events for batch in collected(ship))
    told = json.loads(event.message)
    assert told["type"] == "platform.logsDropped"
    assert told["record"] == {
        "droppedBytes": 1_000,
        "droppedRecords": 3,
        "reason": "they came faster than they could be stored",
    }


def test_the_queue_for_kafka_is_bounded_and_the_oldest_go_first_and_are_told_of() -> None:
    ship = new_shipper()
    stream = ship.open(version(), "e-1")
    before = dropped("lines")
    for n in range(12):
        for _ in range(3_900):
            stream.append(b"%02d" % n + b"y" * 1_021 + b"\n")
        batches = collected(ship)
    assert ship._queue_bytes <= log_shipper.QUEUE_BYTES_MAX
    assert ship._queue_bytes == sum(len(record.value) for record in ship._queue)
    assert batches[-1].events[-1].message.startswith("11")
    stream.append(b"afterwards\n")
    batches = collected(ship)
    told = sum(batch.dropped.lines for batch in batches if batch.dropped is not None)
    kept = sum(len(batch.events) for batch in batches) - sum(batch.dropped is not None for batch in batches)
    assert told == dropped("lines") - before
    assert kept + told == 12 * 3_900 + 1


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("error", [MessageSizeTooLargeError(), ZeroDivisionError("nobody foresaw this")])
async def test_a_record_that_cannot_be_sent_keeps_no_other_waiting_and_its_loss_is_told(error: Exception, later: bool) -> None:
    ship = new_shipper()
    poison, fine = ship.open(version(), "e-1"), ship.open(version(), "e-2")
    broker: Any = Broker(lambda value: error if b"poison" in value else None, later=later)
    before = dropped("lines")
    poison.append(b"poison\nand more\n")
    fine.append(b"well\n")
    collected(ship)
    assert await ship._send(broker)
    assert broker.messages == ["well\n"]
    assert dropped("lines") - before == 2
    assert not ship._queue
    collected(ship)
    assert await ship._send(broker)
    assert broker.batches[-1].log_stream == poison.name
    assert broker.messages[-1].startswith("LOGS_DROPPED Dropped Bytes: 16\tDropped Lines: 2\t")
    assert ship.is_idle()


@pytest.mark.parametrize("later", [False, True])
async def test_records_wait_for_a_kafka_that_does_not_answer_and_none_is_sent_twice_that_was_taken(later: bool) -> None:
    ship = new_shipper()
    away: Any = Broker(lambda value: KafkaConnectionError("away") if b"two" in value else None, later=later)
    for n in (b"one\n", b"two\n", b"three\n"):
        ship.open(version(), "e").append(n)
    collected(ship)
    assert not await ship._send(away)
    back: Any = Broker()
    assert await ship._send(back)
    assert sorted(away.messages + back.messages) == ["one\n", "three\n", "two\n"]
    assert ship._queue_bytes == 0


async def test_the_worker_lives_on_without_kafka() -> None:
    ship = new_shipper()
    running = asyncio.create_task(ship.run())
    ship.open(version(), "e-1").append(b"kept\n")
    await asyncio.to_thread(wait_until, lambda: ship._queue)
    assert not running.done()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_an_unforeseen_failure_of_the_shipper_loses_nothing_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_shipper, "FLUSH_INTERVAL_S", 0.01)
    ship = new_shipper()
    broker = Broker()
    connections = 0

    async def connect() -> Any:
        nonlocal connections
        connections += 1
        if connections == 1:
            raise ZeroDivisionError("nobody foresaw this")
        return broker

    async def close(producer: Any) -> None:
        pass

    monkeypatch.setattr(ship, "_connect", connect)
    monkeypatch.setattr(ship, "_close", close)
    running = asyncio.create_task(keep_running("log-shipper", ship.run))
    ship.open(version(), "e-1").append(b"kept\n")
    await asyncio.to_thread(wait_until, lambda: broker.values)
    assert broker.messages == ["kept\n"]
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def connected(ship: LogShipper, monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()

    async def connect() -> Any:
        return broker

    async def close(producer: Any) -> None:
        pass

    monkeypatch.setattr(ship, "_connect", connect)
    monkeypatch.setattr(ship, "_close", close)
    return broker


async def test_a_worker_that_ends_in_the_middle_of_a_flush_ships_the_rest_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_shipper, "FLUSH_INTERVAL_S", 0.01)
    ship = new_shipper()
    broker = connected(ship, monkeypatch)
    running = asyncio.create_task(ship.run())
    ship.open(version(), "e-1").append(b"first\n")
    await asyncio.to_thread(wait_until, lambda: broker.values)
    for number in range(20):
        ship.open(version(), f"e-{number}").append(b"one\n" * EVENTS_AT_ONCE + b"two\n")
    encode = log_shipper.encode_log_batches

    def ends_meanwhile(*arguments: Any) -> Any:
        if not running.cancelling():
            running.cancel()
        return encode(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(log_shipper, "encode_log_batches", ends_meanwhile)
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(PATIENCE_S):
                await running
    assert broker.messages.count("one\n") == 20 * EVENTS_AT_ONCE
    assert broker.messages.count("two\n") == 20
    assert ship.is_idle()


async def test_a_kafka_that_went_away_is_waited_for_once_in_a_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_shipper, "FLUSH_INTERVAL_S", 0.01)
    monkeypatch.setattr(log_shipper, "SEND_BYTES", 10)
    ship = new_shipper()
    broker = connected(ship, monkeypatch)
    running = asyncio.create_task(ship.run())
    ship.open(version(), "e-1").append(b"first\n")
    await asyncio.to_thread(wait_until, lambda: broker.values)
    tried: list[bytes] = []

    def away(value: bytes) -> Exception:
        tried.append(value)
        return KafkaConnectionError("away")

    broker.refuse = away
    streams = [ship.open(version(), f"e-{number}") for number in range(20)]
    for stream in streams:
        stream.append(b"kept\n")
    await asyncio.to_thread(wait_until, lambda: len(ship._queue) == len(streams))
    assert len(tried) <= 2, "once while it was collected, once after"
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_stream_that_cannot_be_collected_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ship = new_shipper()
    poison, fine = ship.open(version(), "e-1"), ship.open(version(), "e-2")
    for stream in (poison, fine):
        stream.append(b"word\n")
    encode = log_shipper.encode_log_batches

    def fragile(source: Any, *rest: Any) -> Any:
        if source.log_stream == poison.name:
            raise ZeroDivisionError("nobody foresaw this")
        return encode(source, *rest)

    monkeypatch.setattr(log_shipper, "encode_log_batches", fragile)
    with pytest.raises(ZeroDivisionError):
        collected(ship)
    assert [batch.log_stream for batch in collected(ship)] == [fine.name]
