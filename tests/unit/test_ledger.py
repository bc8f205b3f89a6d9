"""The ledger's rules without any engine: what beats what, what is read of the event topic, what is told when."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast

import pytest

from services.router.deliveries.contract import Happened, Happening
from services.router.ledger import deliveries
from services.router.ledger.backlog import gaps
from shared.events.records import Behalf, Delivery
from shared.ledger.errors import error_line
from shared.ledger.joining import Joined, event_row, step_row
from shared.ledger.partitions import Partitions
from shared.ledger.records import (
    Batch,
    EventEntry,
    LedgerRecordError,
    Status,
    StepEntry,
    StepKind,
    decode_batch,
    encode_batch,
)
from shared.ledger.writer import BATCH_ENTRIES_MAX, ENTRIES_MAX, LedgerWriter
from shared.registry.ledger_tables import PARTITION_MS
from shared.settings import LedgerSettings, Settings

ID = "01a22795-1990-49c9-8c2a-adf95cbbe192"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def entry(status: Status, at_ms: int = 10, **more: Any) -> EventEntry:
    fields: dict[str, Any] = {
        "event_id": ID,
        "function": 0,
        "qualifier": None,
        "accepted_at_ms": 5,
        "partition": 1,
        "offset": 7,
    }
    return EventEntry(**{**fields, "status": status, "at_ms": at_ms, **more})


def test_what_does_not_reach_its_target_names_on_whose_behalf_it_was_sent() -> None:
    told: list[tuple[str, str]] = []

    class Ledger:
        def step(self, event_id: str, kind: StepKind, at_ms: int, *, target: str, detail: str, source: str) -> None:
            told.append((kind.label, source))

    sent = Delivery("d", Behalf.LAMBDA, ARN, "batch-1", "queue", b"{}", 1)
    rule = Delivery("d", Behalf.EVENTS, "rule", "e", "queue", b"{}", 1)
    for delivery in (sent, rule):
        for happening in Happening:
            deliveries.tell(cast("LedgerWriter", Ledger()), Happened(delivery, happening, 2))
    assert dict(told[: len(Happening)]) == {"delivery-retried": ARN, "delivered": "", "delivery-refused": ARN, "kept": ARN}
    assert {source for _, source in told[len(Happening) :]} == {"rule"}


def test_a_batch_is_read_as_it_was_written() -> None:
    batch = Batch([ARN], [entry(Status.FAILED, error="x")], [StepEntry(ID, 3, StepKind.DELIVERED, "queue")])
    assert decode_batch(encode_batch(batch)) == batch


@pytest.mark.parametrize("value", [b"", b"\x02\x93", b"\x01", b"\x01\x90", b"\x01\xc1"])
def test_what_is_no_batch_is_refused(value: bytes) -> None:
    with pytest.raises(LedgerRecordError):
        decode_batch(value)


def test_in_whatever_order_entries_come_the_same_one_stays() -> None:
    """An end beats what was true before it; of two of a kind the later one stays."""
    told = [
        entry(Status.QUEUED, 5),
        entry(Status.RUNNING, 9),
        entry(Status.RETRYING, 10, attempts=1),
        entry(Status.SUCCEEDED, 20, attempts=2),
        entry(Status.RUNNING, 30),
    ]
    for order in itertools.permutations(told):
        joined = Joined()
        for each in order:
            joined.add(Batch([ARN], [each]))
        assert joined.events == {ID: (told[3], ARN)}
        assert joined.told == len(told)


def test_a_second_end_replaces_the_first_when_it_is_later() -> None:
    for order in itertools.permutations([entry(Status.SUCCEEDED, 20), entry(Status.FAILED, 21)]):
        joined = Joined()
        joined.add(Batch([ARN], list(order)))
        assert joined.events[ID][0].status == Status.FAILED


def test_rows_hold_whatever_entries_say() -> None:
    odd = entry(Status.FAILED, at_ms=2**45, attempts=10**6, error="a\0b\ud800", started_at_ms=1)
    row = event_row(odd, 3)
    assert row[4:6] == (0, 2**31 - 1)
    assert row[8] == 2**15 - 1
    assert row[13] == "a\N{REPLACEMENT CHARACTER}b?"
    assert event_row(entry(Status.QUEUED), 3)[4] == -1


def test_steps_of_one_moment_are_told_apart_and_the_same_one_is_the_same_row() -> None:
    steps = [StepEntry("no uuid", 3, StepKind.DELIVERED, target) for target in ("a", "b", "a")]
    first, second, third = map(step_row, steps)
    assert first == third
    assert first[3] != second[3]
    assert first[0] == second[0]


@pytest.mark.parametrize(
    ("first", "end", "settled", "left"),
    [
        (0, 0, (), []),
        (5, 4, (), []),
        (0, 10, (), [(0, 10)]),
        (0, 10, ((0, 10),), []),
        (0, 10, ((2, 4), (6, 7)), [(0, 2), (4, 6), (7, 10)]),
        (3, 10, ((0, 2), (2, 5), (9, 20)), [(5, 9)]),
        (0, 10, ((12, 20),), [(0, 10)]),
    ],
)
def test_only_what_nobody_has_settled_is_read(
    first: int, end: int, settled: tuple[tuple[int, int], ...], left: list[tuple[int, int]]
) -> None:
    assert list(gaps(first, end, settled)) == left


def test_errors_are_kept_as_one_line() -> None:
    assert error_line(b'{"errorType": "KeyError", "errorMessage": "no such key", "stackTrace": []}') == "KeyError: no such key"
    assert error_line(b'{"errorMessage": "alone"}') == "alone"
    assert error_line(b"\xff not JSON") == "\N{REPLACEMENT CHARACTER} not JSON"
    assert error_line(b'["x"]') == '["x"]'
    assert len(error_line(b"x" * 10**6)) == 1_024


def test_partitions_are_for_times_that_are_kept() -> None:
    partitions = Partitions(LedgerSettings(keep_h=6))
    now_ms = 100 * PARTITION_MS + 5
    assert partitions.lacks([now_ms, now_ms + 1, now_ms - 6]) == {100 * PARTITION_MS, 99 * PARTITION_MS}
    assert partitions.takes(now_ms - PARTITION_MS, now_ms)
    assert not partitions.takes(now_ms - PARTITION_MS - 1, now_ms)
    assert not partitions.takes(now_ms + 30 * 24 * 3_600_000, now_ms)


class Producer:
    """Takes records when it is told to."""

    def __init__(self) -> None:
        self.taken: list[Batch] = []
        self.may = asyncio.Event()

    async def persist(self, _: str, value: bytes) -> None:
        await self.may.wait()
        self.taken.append(decode_batch(value))


def tell(writer: LedgerWriter, number: int, settled: list[int]) -> None:
    writer.event(ARN, str(number), None, Status.SUCCEEDED, 1, 2, 0, number, on_written=lambda: settled.append(number))


async def test_many_entries_are_one_record_and_are_settled_when_it_is_written() -> None:
    producer, settled = Producer(), list[int]()
    writer = LedgerWriter(Settings(), producer)  # type: ignore[arg-type]
    for number in range(BATCH_ENTRIES_MAX + 1):
        tell(writer, number, settled)
    flushing = asyncio.create_task(writer.flush())
    await asyncio.sleep(0)
    assert settled == []
    producer.may.set()
    await flushing
    assert sorted(len(batch.events) for batch in producer.taken) == [1, BATCH_ENTRIES_MAX]
    assert [batch.functions for batch in producer.taken] == [[ARN], [ARN]]
    assert sorted(settled) == list(range(BATCH_ENTRIES_MAX + 1))


async def test_who_tells_more_than_kafka_takes_waits_for_room() -> None:
    producer = Producer()
    writer = LedgerWriter(Settings(), producer)  # type: ignore[arg-type]
    for number in range(ENTRIES_MAX):
        tell(writer, number, [])
    waiting = asyncio.create_task(writer.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    producer.may.set()
    await asyncio.wait_for(waiting, 30)
    await writer.flush()
