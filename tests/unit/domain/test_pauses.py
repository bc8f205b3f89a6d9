"""What is learnt from pauses, as pure rules."""

from __future__ import annotations

import pytest

from shared.domain.pauses import BUCKETS, COUNTED_MIN, HALVED_AT, MARGIN, Bounds, Pauses, begin_s, bucket

BOUNDS = Bounds(standard_s=600, least_s=60, most_s=3_600)


def of(*pauses_s: float) -> Pauses:
    counted: dict[int, int] = {}
    for pause_s in pauses_s:
        counted[bucket(pause_s)] = counted.get(bucket(pause_s), 0) + 1
    return Pauses.of(counted)


@pytest.mark.parametrize("number", range(BUCKETS - 1))
def test_every_pause_has_one_bucket(number: int) -> None:
    begin, end = begin_s(number), begin_s(number + 1)
    assert bucket(begin * 1.001) == bucket(end * 0.999) == number
    assert end / begin == pytest.approx(2**0.5)


def test_the_longest_pauses_share_the_last_bucket() -> None:
    assert bucket(10.0) == 0
    assert {bucket(begin_s(BUCKETS - 1) * 1.001), bucket(1e6), bucket(1e9)} == {BUCKETS - 1}
    assert begin_s(BUCKETS - 1) > 8 * 3_600


def test_too_few_pauses_teach_nothing() -> None:
    assert of().keep_s(BOUNDS) is None
    assert of(*[300.0] * (COUNTED_MIN - 1)).keep_s(BOUNDS) is None
    assert of(*[300.0] * COUNTED_MIN).keep_s(BOUNDS) is not None


def test_a_function_with_regular_pauses_is_kept_a_little_longer_than_these() -> None:
    """Every five minutes: kept for less than the 600 s of the others, and every invocation is warm."""
    kept = of(*[300.0] * 20).keep_s(BOUNDS)
    assert kept is not None
    assert 300 * MARGIN < kept < 300 * 2**0.5 * MARGIN


def test_a_function_with_longer_pauses_than_most_is_kept_longer() -> None:
    kept = of(*[1_700.0] * 20).keep_s(BOUNDS)
    assert kept is not None
    assert 1_700 < kept < 3_600


def test_one_pause_in_a_hundred_need_not_be_bridged() -> None:
    often = [100.0] * 198
    kept, longer = of(*often, 2_000.0).keep_s(BOUNDS), of(*often, *[2_000.0] * 4).keep_s(BOUNDS)
    assert kept is not None
    assert longer is not None
    assert kept < 200 < 2_000 < longer


def test_what_is_learnt_stays_in_its_bounds() -> None:
    assert of(*[11.0] * 50).keep_s(BOUNDS) == BOUNDS.least_s
    assert of(*[3_000.0] * 50).keep_s(Bounds(600, 60, 3_700)) == 3_700
    assert of(*[300.0] * 50).keep_s(Bounds(600, 600, 600)) in (None, 600)


def test_pauses_that_nothing_bridges_are_not_waited_for() -> None:
    """Once a day and three times a minute apart: the minute counts. Once a day: nothing is learnt."""
    assert of(*[86_400.0] * 20).keep_s(BOUNDS) is None
    kept = of(*[86_400.0] * 20, *[60.0] * 40).keep_s(BOUNDS)
    assert kept is not None
    assert kept < 120
    assert of(*[86_400.0] * 41, *[60.0] * 40).keep_s(BOUNDS) is None


def test_old_habits_are_forgotten() -> None:
    pauses = of(*[3_000.0] * (HALVED_AT - 1))
    assert pauses.halved() is None
    for _ in range(20):
        counted = dict(enumerate(pauses.counts))
        counted[bucket(120.0)] = counted.get(bucket(120.0), 0) + HALVED_AT // 2
        pauses = Pauses.of(counted)
        pauses = pauses.halved() or pauses
        assert sum(pauses.counts) <= HALVED_AT
    kept = pauses.keep_s(BOUNDS)
    assert kept is not None
    assert kept < 200
