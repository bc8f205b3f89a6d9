"""A batch goes by count, by size or by time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.poller.mapping.batcher import Batcher


def batcher(*, records_max: int = 3, bytes_max: int = 100, window_s: float = 1.0) -> Batcher[bytes]:
    return Batcher(records_max=records_max, bytes_max=bytes_max, window_s=window_s, size_of=len)


def test_a_full_batch_does_not_wait_for_its_window() -> None:
    full = batcher()
    full.add([b"a", b"b", b"c", b"d"], 0.0)
    assert full.take(0.0) == [b"a", b"b", b"c"]
    assert full.take(0.0) == []
    assert full.due_in_s(0.4) == 0.6


def test_a_partial_batch_goes_when_its_window_is_over() -> None:
    partial = batcher()
    partial.add([b"a"], 0.0)
    assert partial.take(0.9) == []
    partial.add([b"b"], 0.9)
    assert partial.take(1.0) == [b"a", b"b"]
    assert partial.due_in_s(1.0) is None


def test_without_a_window_what_is_there_goes_at_once() -> None:
    eager = batcher(window_s=0.0)
    eager.add([b"a"], 5.0)
    assert eager.take(5.0) == [b"a"]


def test_a_batch_ends_before_the_payload_would_be_too_large() -> None:
    large = batcher(bytes_max=10)
    large.add([b"x" * 6, b"y" * 6], 0.0)
    assert large.take(0.0) == [b"x" * 6]


def test_a_record_that_is_too_large_is_a_batch_of_its_own() -> None:
    large = batcher(bytes_max=10)
    large.add([b"x" * 50, b"y"], 0.0)
    assert large.take(0.0) == [b"x" * 50]
    assert large.take(2.0) == [b"y"]


@given(st.lists(st.binary(max_size=30), max_size=40), st.integers(1, 10), st.integers(1, 60))
def test_batches_keep_order_lose_nothing_and_stay_in_bounds(sent: list[bytes], records_max: int, bytes_max: int) -> None:
    any_batcher = batcher(records_max=records_max, bytes_max=bytes_max, window_s=1.0)
    any_batcher.add(sent, 0.0)
    got: list[bytes] = []
    now = 0.0
    while any_batcher.due_in_s(now) is not None:
        now += 1.0
        batch = any_batcher.take(now)
        assert batch
        assert len(batch) <= records_max
        assert len(batch) == 1 or sum(map(len, batch)) <= bytes_max
        got += batch
    assert got == sent
