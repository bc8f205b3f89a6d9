"""Timers: what fires, what is late, what is passed over, and that clocks which are set change none of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.cron_expressions import InvalidExpressionError
from shared.domain.timers import AGE_S_MAX, Timer, Timing, fired, planned, put_right, rule_timing

NOW = 1_750_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
OWNER = "arn:aws:scheduler:us-east-1:000000000000:schedule/default/s"


def started(timing: Timing, now_ms: int = NOW) -> Timer:
    return planned(Timer(OWNER, "g", timing, None, None), timing.first_due(now_ms), now_ms)


def every(period: str, **more: int) -> Timer:
    return started(Timing(f"rate({period})", **{"anchor_ms": NOW, **more}))


def test_a_rate_fires_at_once_and_then_in_its_phase() -> None:
    firing, timer = fired(every("5 minutes"), NOW + 17)
    assert firing is not None
    assert (firing.due_ms, firing.late_ms, timer.due_ms) == (NOW, 0, NOW + 5 * MINUTE)


def test_a_rate_with_a_start_first_fires_then() -> None:
    assert every("5 minutes", anchor_ms=NOW + DAY, start_ms=NOW + DAY).due_ms == NOW + DAY


def test_the_rate_of_a_rule_first_fires_one_period_later() -> None:
    timer = started(rule_timing("rate(1 minute)", NOW))
    assert timer.due_ms == NOW + MINUTE
    assert fired(timer, NOW + MINUTE)[1].due_ms == NOW + 2 * MINUTE


def test_nothing_is_due_after_its_end() -> None:
    timer = every("5 minutes", end_ms=NOW + 5 * MINUTE)
    for count in range(2):
        firing, timer = fired(timer, NOW + count * 5 * MINUTE)
        assert firing is not None
    assert timer.due_ms is None


def test_a_firing_that_was_missed_is_made_up_for_once_and_told() -> None:
    firing, timer = fired(every("5 minutes"), NOW + 3 * HOUR + 17)
    assert firing is not None
    assert (firing.due_ms, firing.late_ms) == (NOW, 3 * HOUR + 17)
    assert timer.due_ms == NOW + 3 * HOUR + 5 * MINUTE


def test_of_what_was_missed_for_longer_than_its_age_the_first_that_is_young_enough_fires() -> None:
    firing, timer = fired(every("1 day"), NOW + 2 * DAY + HOUR)
    assert firing is not None
    assert firing.due_ms == NOW + 2 * DAY
    assert timer.due_ms == NOW + 3 * DAY


def test_what_is_too_old_is_passed_over() -> None:
    once = started(Timing("at(2025-06-15T16:00:00)"), NOW)
    assert once.due_ms is not None
    assert fired(once, once.due_ms + AGE_S_MAX * 1000)[0] is not None
    assert fired(once, once.due_ms + AGE_S_MAX * 1000 + 1)[0] is None


def test_a_one_time_schedule_of_the_minute_that_is_not_over_is_due_and_one_of_yesterday_is_not() -> None:
    assert started(Timing("at(2025-06-15T15:06:00)"), NOW).due_ms == NOW - 40_000
    assert started(Timing("at(2025-06-15T15:05:00)"), NOW).due_ms is None


def test_a_flexible_window_spreads_firings_over_it_and_they_are_not_late_in_it() -> None:
    places = []
    for number in range(200):
        timing = Timing("rate(1 hour)", anchor_ms=NOW, window_ms=10 * MINUTE)
        timer = planned(Timer(f"{OWNER}{number}", "g", timing, None, None), NOW, NOW)
        assert timer.due_ms == NOW
        assert timer.fire_at_ms is not None
        places.append(timer.fire_at_ms - NOW)
        firing, on = fired(timer, timer.fire_at_ms)
        assert firing is not None
        assert (firing.due_ms, firing.late_ms, on.due_ms) == (NOW, 0, NOW + HOUR)
    assert min(places) < 2 * MINUTE < 8 * MINUTE < max(places) < 10 * MINUTE


def test_a_clock_that_was_ahead_and_is_put_back_fires_nothing_twice_and_skips_nothing_that_is_to_come() -> None:
    timer = fired(every("1 hour"), NOW)[1]
    firing, ahead = fired(timer, NOW + 30 * DAY)
    assert firing is not None
    back = put_right(ahead, NOW + 10 * MINUTE)
    assert back.due_ms == firing.due_ms + HOUR


timings = st.one_of(
    st.tuples(st.integers(1, 90), st.sampled_from(["minutes", "hours"])).map(
        lambda rate: Timing(f"rate({rate[0]} {rate[1]})", anchor_ms=NOW)
    ),
    st.sampled_from(["0/7 * * * ? *", "30 2 * * ? *", "0 0 L * ? *", "15,45 8-17 ? * MON-FRI *"]).map(
        lambda cron: Timing(f"cron({cron})", "Europe/Berlin")
    ),
)


@given(timings, st.lists(st.integers(-3 * HOUR, 30 * HOUR), min_size=1, max_size=40))
def test_however_the_clock_goes_no_moment_fires_twice_and_none_before_it_is_due(timing: Timing, steps: list[int]) -> None:
    timer, now, seen = started(timing), NOW, []
    for step in steps:
        now += step
        if step < 0:
            timer = put_right(timer, now)
        elif timer.fire_at_ms is not None and timer.fire_at_ms <= now:
            firing, timer = fired(timer, now)
            if firing is not None:
                assert firing.due_ms <= now
                seen.append(firing.due_ms)
        assert timer.due_ms is None or timer.due_ms > now
    assert seen == sorted(set(seen))


def test_a_firing_has_one_id_however_often_it_is_handed_over() -> None:
    timer = every("5 minutes")
    first, again = fired(timer, NOW + 1)[0], fired(timer, NOW + 2)[0]
    other = fired(msgspec.structs.replace(timer, generation="h"), NOW + 1)[0]
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.firing_id == again.firing_id != other.firing_id


@pytest.mark.parametrize("text", ["rate(1 minutes)", "at(2030-01-01T00:00:00)"])
def test_a_rule_takes_expressions_of_rules_alone(text: str) -> None:
    with pytest.raises(InvalidExpressionError):
        rule_timing(text, NOW)
