from __future__ import annotations

import asyncio
import contextlib
import re
from datetime import UTC, datetime

import msgspec

from services.worker import logs
from services.worker.logs import LogBatch, LogShipper, log_stream_name
from shared.settings import Settings
from tests.support import wait_until
from tests.unit.worker.specs import version


def shipper() -> LogShipper:
    return LogShipper(Settings(kafka_bootstrap_servers="127.0.0.1:1", instance="worker-t"))


def written(*chunks: bytes) -> list[str]:
    stream = shipper().open(version(), "e-1")
    for chunk in chunks:
        stream.append(chunk)
    return [event.message for event in stream.take()]


def test_a_log_stream_is_named_as_aws_names_it() -> None:
    assert re.fullmatch(r"2026/02/03/\[\$LATEST\][0-9a-f]{32}", log_stream_name("$LATEST", datetime(2026, 2, 3, tzinfo=UTC)))


def test_lines_become_events_and_blank_lines_do_not() -> None:
    assert written(b"\nmulti\nline\nstring\nanother\rline\n\n") == ["multi\n", "line\n", "string\n", "another\rline\n"]


def test_a_line_that_comes_in_pieces_is_one_event() -> None:
    assert written(b"be", b"gin", b"ning\nnext", b"\nlast") == ["beginning\n", "next\n", "last"]


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert written(b"\xff\xfe\n") == ["\ufffd\ufffd\n"]


def test_a_flush_makes_one_record_for_each_stream() -> None:
    ship = shipper()
    streams = [ship.open(version(), f"e-{n}") for n in range(2)]
    for stream in streams:
        for n in range(3):
            stream.append(f"line {n}\n".encode())
    ship.collect()
    batches = [msgspec.json.decode(value, type=LogBatch) for _, value in ship._queue]
    assert [b.log_stream for b in batches] == [s.name for s in streams]
    assert [e.message for e in batches[0].events] == ["line 0\n", "line 1\n", "line 2\n"]
    assert batches[0].log_group == "/aws/lambda/greeter"


def test_a_flood_loses_its_oldest_part_and_says_so() -> None:
    ship = shipper()
    stream = ship.open(version(), "e-1")
    line = b"x" * 1_023 + b"\n"
    for _ in range(6_000):
        stream.append(line)
    stream.append(b"the end\n")
    events = stream.take()
    assert re.match(r"\d+ bytes of log were dropped here", events[0].message)
    assert events[-1].message == "the end\n"
    assert sum(len(e.message) for e in events) <= logs.STREAM_BYTES_MAX + 1_024
    assert ship.pending_bytes == 0


def test_the_queue_for_kafka_is_bounded_and_the_oldest_go_first() -> None:
    ship = shipper()
    stream = ship.open(version(), "e-1")
    for n in range(12):
        for _ in range(3_900):
            stream.append(b"%02d" % n + b"y" * 1_021 + b"\n")
        ship.collect()
    assert ship._queue_bytes <= logs.QUEUE_BYTES_MAX
    assert ship._queue_bytes == sum(len(value) for _, value in ship._queue)
    newest = msgspec.json.decode(ship._queue[-1][1], type=LogBatch)
    assert newest.events[-1].message.startswith("11")


async def test_the_worker_lives_on_without_kafka() -> None:
    ship = shipper()
    running = asyncio.create_task(ship.run())
    ship.open(version(), "e-1").append(b"kept\n")
    await asyncio.to_thread(wait_until, lambda: ship._queue, deadline_s=10)
    assert not running.done()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
