"""Offsets are committed only behind what is settled, whatever the order of completion."""

from __future__ import annotations

import itertools
import tracemalloc
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import offsets as module
from shared.events.offsets import (
    METADATA_BYTES_MAX,
    OffsetTracker,
    OrderedTracker,
    decode_settled,
    encode_settled,
)


def records(*offsets: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(offset=offset) for offset in offsets]


def test_nothing_is_committed_past_an_unsettled_record() -> None:
    tracker = OffsetTracker(10)
    tracker.begin_all(records(10, 11, 12))
    tracker.settle(12)
    tracker.settle(11)
    assert tracker.position == 10
    tracker.settle(10)
    assert tracker.position == 13
    assert tracker.unsettled == 0


def test_gaps_in_the_log_are_no_unsettled_records() -> None:
    tracker = OffsetTracker(0)
    tracker.begin_all(records(3, 7, 20))
    for offset in (3, 20, 7):
        tracker.settle(offset)
    assert tracker.position == 21


def test_settling_twice_or_an_unknown_record_changes_nothing() -> None:
    tracker = OffsetTracker(0)
    tracker.begin_all(records(0, 1))
    tracker.settle(1)
    tracker.settle(1)
    tracker.settle(99)
    assert (tracker.position, tracker.unsettled) == (0, 1)


def test_a_record_that_runs_or_is_settled_is_not_begun_again() -> None:
    tracker = OffsetTracker(0)
    assert len(tracker.begin_all(records(0, 1, 2))) == 3
    tracker.settle(1)
    assert [r.offset for r in tracker.begin_all(records(0, 1, 2, 3))] == [3]


def test_the_next_owner_skips_what_was_settled_out_of_order() -> None:
    first = OffsetTracker(0)
    first.begin_all(records(*range(10)))
    for offset in (2, 3, 4, 7):
        first.settle(offset)
    change = first.take_commit()
    assert change is not None
    second = OffsetTracker(change[0], decode_settled(*change))
    assert [r.offset for r in second.begin_all(records(*range(12)))] == [0, 1, 5, 6, 8, 9, 10, 11]
    for offset in (0, 1, 5, 6):
        second.settle(offset)
    assert second.position == 8


def test_an_earlier_owners_knowledge_is_handed_on() -> None:
    tracker = OffsetTracker(0, ((2, 5), (7, 8)))
    tracker.begin_all(records(0, 1, 2))
    assert tracker.settled_ranges() == ((2, 3), (3, 5), (7, 8))
    change = tracker.take_commit()
    assert change is not None
    assert OffsetTracker(change[0], decode_settled(*change)).settled_ranges() == ((2, 3), (3, 5), (7, 8))


def test_a_commit_is_taken_once_and_again_after_it_failed() -> None:
    tracker = OffsetTracker(0)
    assert tracker.take_commit() is None
    tracker.begin_all(records(0))
    tracker.settle(0)
    assert tracker.take_commit() == (1, "")
    assert tracker.take_commit() is None
    tracker.commit_failed()
    assert tracker.take_commit() == (1, "")


def test_another_owners_commit_moves_the_position_forward_only() -> None:
    tracker = OffsetTracker(0)
    tracker.begin_all(records(0, 1, 2, 3))
    tracker.settle(2)
    tracker.skip_to(2)
    assert tracker.position == 3
    tracker.skip_to(1)
    assert tracker.position == 3
    assert tracker.unsettled == 1


@given(
    st.lists(st.integers(1, 3), max_size=25),
    st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=80),
    st.sampled_from((-100, 0, module.SETTLED_LISTED_MAX)),
)
def test_any_order_of_settling_commits_exactly_the_contiguous_prefix(
    gaps: list[int], steps: list[tuple[bool, int]], listed_max: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SETTLED_LISTED_MAX", listed_max)
        settle_in_any_order(list(itertools.accumulate(gaps)), steps)


def settle_in_any_order(offsets: list[int], steps: list[tuple[bool, int]]) -> None:
    tracker = OffsetTracker(0)
    begun: list[int] = []
    unsettled: list[int] = []
    for begins, pick in [*steps, (True, len(offsets)), *[(False, 0)] * len(offsets)]:
        if begins:
            more = offsets[len(begun) : len(begun) + pick]
            assert [r.offset for r in tracker.begin_all(records(*more))] == more
            begun += more
            unsettled += more
        elif unsettled:
            tracker.settle(unsettled.pop(pick % len(unsettled)))
        expected = min(unsettled) if unsettled else begun[-1] + 1 if begun else 0
        settled_before = [offset for offset in begun if offset < expected]
        assert tracker.position == (settled_before[-1] + 1 if settled_before else 0)
        beyond = {offset for first, end in tracker.settled_ranges() for offset in begun if first <= offset < end}
        assert beyond == {offset for offset in begun if offset >= tracker.position} - set(unsettled)


def test_what_is_settled_behind_a_record_that_takes_long_takes_no_memory() -> None:
    tracker = OffsetTracker(0)
    tracker.begin_all(records(0))
    tracemalloc.start()
    try:
        for first in range(1, 200_000, 500):
            for record in tracker.begin_all(records(*range(first, first + 500))):
                tracker.settle(record.offset)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 200_000
    assert tracker.settled_ranges() == ((1, 200_001),)
    tracker.settle(0)
    assert tracker.take_commit() == (200_001, "")


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 5_000)), max_size=3_000), st.integers(0, 2**40))
def test_settled_ranges_survive_the_commits_metadata_as_far_as_they_fit(pieces: list[tuple[int, int]], start: int) -> None:
    ranges, at = [], start
    for gap, length in pieces:
        ranges.append((at + gap, at + gap + length))
        at += gap + length
    text = encode_settled(start, tuple(ranges))
    assert len(text) <= METADATA_BYTES_MAX
    decoded = decode_settled(start, text)
    assert decoded == tuple(ranges[: len(decoded)])
    assert len(decoded) == len(ranges) or len(text) > METADATA_BYTES_MAX - 16


def test_foreign_metadata_means_nothing_is_known() -> None:
    for text in ("", "hello", "1:%%%", "2:AAAA"):
        assert decode_settled(0, text) == ()


def test_an_ordered_partition_commits_behind_its_batches() -> None:
    tracker = OrderedTracker(5)
    assert [r.offset for r in tracker.begin_all(records(5, 6, 9))] == [5, 6, 9]
    assert [r.offset for r in tracker.begin_all(records(6, 9, 10))] == [10]
    assert tracker.take_commit() is None
    tracker.settle(6)
    assert tracker.take_commit() == (7, "")
    tracker.settle(5)
    assert tracker.take_commit() is None
    tracker.settle(10)
    assert (tracker.position, tracker.unsettled) == (11, 0)
