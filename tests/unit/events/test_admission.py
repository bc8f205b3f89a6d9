"""No function fills the window alone, and none that is throttled spends its time being refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from services.poller.admission import CROWDED_WAIT_S_MAX, WAIT_S_MAX, Admission, Ran

HELD_MAX = 10_000


def offered(running_max: int, **events: int) -> Admission[str]:
    admission: Admission[str] = Admission(running_max, HELD_MAX)
    for function, count in events.items():
        for number in range(count):
            admission.offer(function, f"{function}{number}", 0.0)
    return admission


def start_all(admission: Admission[str]) -> Counter[str]:
    started: Counter[str] = Counter()
    while (chosen := admission.next()) is not None:
        started[chosen[0]] += 1
    return started


def work(
    admission: Admission[str], function: str, seconds: float, rate_of: Callable[[int], float], own_part: float = 1.0
) -> int:
    """Run a function that has more events than it can take; rate_of: events a second by how many run; own_part: of the time,
    in the function itself. The greatest share that it had."""
    now, peak = 0.0, 0
    while now < seconds:
        admission.offer(function, "x", now)
        admission.offer(function, "x", now)
        start_all(admission)
        peak = max(peak, admission.running)
        rate = rate_of(admission.running)
        now += 1 / rate
        whole_s = admission.running / rate
        admission.finished(function, now, throttled=False, ran=Ran(whole_s * own_part, whole_s))
    return peak


def test_a_function_that_gains_by_running_more_at_once_gets_its_whole_share_and_no_more() -> None:
    admission: Admission[str] = Admission(400, HELD_MAX)
    assert work(admission, "waits", 20.0, lambda running: running * 10.0) == 300
    start_all(admission)
    admission.offer("quiet", "q", 21.0)
    assert admission.next() == ("quiet", "q")


def test_a_function_that_does_not_gain_by_running_more_at_once_stays_small() -> None:
    admission: Admission[str] = Admission(400, HELD_MAX)
    assert work(admission, "computes", 20.0, lambda running: 500.0) <= 64


def test_a_function_that_waits_for_the_platform_stays_as_small_as_it_began() -> None:
    admission: Admission[str] = Admission(400, HELD_MAX)
    assert work(admission, "trivial", 20.0, lambda running: running * 10.0, own_part=0.3) == 8


def test_cold_starts_tell_nothing_of_what_more_at_once_would_bring() -> None:
    admission = offered(400, f=1_000)
    start_all(admission)
    for number in range(500):
        admission.finished("f", number * 0.01, throttled=False, ran=None)
        start_all(admission)
    assert admission.running == 8


def test_a_slow_function_gets_its_share_before_the_first_event_ends() -> None:
    admission = offered(400, slow=1_000)
    start_all(admission)
    for half_seconds in range(1, 15):
        admission.grow_slow(half_seconds * 0.5)
        start_all(admission)
    assert admission.running == 300


def test_a_function_starts_small() -> None:
    assert start_all(offered(400, busy=1_000)) == {"busy": 8}


def test_functions_take_turns() -> None:
    assert start_all(offered(10, a=100, b=100)) == {"a": 5, "b": 5}


def test_order_within_a_function_is_kept() -> None:
    admission = offered(4, a=3)
    assert [admission.next() for _ in range(3)] == [("a", "a0"), ("a", "a1"), ("a", "a2")]


def test_throttles_shrink_a_share_to_what_runs_and_it_is_earned_back() -> None:
    admission: Admission[str] = Admission(400, HELD_MAX)
    work(admission, "f", 20.0, lambda running: running * 10.0)
    for _ in range(289):
        admission.finished("f", 20.0, throttled=True)
    assert admission.running == 10
    assert admission.next() is None
    assert work(admission, "f", 40.0, lambda running: running * 10.0) == 300


def test_a_share_never_shrinks_to_nothing() -> None:
    admission = offered(10, f=100)
    for _ in range(50):
        assert admission.next() is not None
        admission.finished("f", 0.0, throttled=True)


def paced(admission: Admission[str], function: str, until_s: float, rate: float) -> float:
    """One after the other, at that rate, with something waiting all the time; when it ended."""
    now = 0.0
    while now < until_s:
        admission.offer(function, "x", now)
        admission.offer(function, "x", now)
        assert admission.next() is not None
        now += 1 / rate
        admission.finished(function, now, throttled=False, ran=Ran(1 / rate, 1 / rate))
        admission.clear()
    return now


def test_no_more_waits_than_a_function_gets_through_soon() -> None:
    admission: Admission[str] = Admission(1, HELD_MAX)
    now = paced(admission, "slow", 2.0, rate=20.0)
    admission.clear()
    taken = sum(admission.offer("slow", "y", now) for _ in range(1_000))
    assert WAIT_S_MAX * 20.0 * 0.9 < taken <= WAIT_S_MAX * 20.0


def test_what_is_sent_away_comes_back_about_when_it_is_its_turn() -> None:
    admission: Admission[str] = Admission(1, HELD_MAX)
    now = paced(admission, "slow", 2.0, rate=20.0)
    turns = [admission.turn_in_s("slow", now) for _ in range(500) if not admission.offer("slow", "y", now)]
    assert turns == sorted(turns)
    assert 500 / 20.0 * 0.8 < turns[-1] < 500 / 20.0 * 1.2
    for number, _ in enumerate(turns):
        admission.clear()
        if number % 2:
            admission.ended_away("slow")
        else:
            assert admission.offer("slow", "y", now, returned=True)
    assert admission.turn_in_s("slow", now) < 1.0


def test_a_function_of_unknown_pace_leaves_room_for_others_before_long() -> None:
    admission: Admission[str] = Admission(4, 100)
    for number in range(100):
        assert admission.offer("stuck", f"s{number}", 0.0)
    start_all(admission)
    assert admission.spill(0.1) == []
    spilled = admission.spill(CROWDED_WAIT_S_MAX + 0.1)
    assert [item for _, item in spilled[:2]] == ["s99", "s98"]
    assert admission.held <= 4 + 8
    assert admission.turn_in_s("stuck", 0.6) is None


def test_what_waits_much_longer_than_it_was_promised_is_sent_away_for_a_short_time() -> None:
    admission: Admission[str] = Admission(1, 100)
    now = paced(admission, "hangs", 2.0, rate=5_000.0)
    for _ in range(99):
        assert admission.offer("hangs", "y", now)
    assert admission.next() is not None
    assert admission.spill(now + CROWDED_WAIT_S_MAX) == []
    assert len(admission.spill(now + CROWDED_WAIT_S_MAX * 3)) == 97
    assert admission.turn_in_s("hangs", now + WAIT_S_MAX * 3) is None


def test_what_arrives_fast_and_is_done_fast_is_not_sent_away() -> None:
    admission: Admission[str] = Admission(8, 1_000)
    now = paced(admission, "fast", 2.0, rate=5_000.0)
    admission.clear()
    assert all(admission.offer("fast", "y", now) for _ in range(1_000))


def test_a_function_that_gets_through_more_than_its_runs_let_expect_is_taken_at_its_word() -> None:
    admission: Admission[str] = Admission(8, 1_000)
    now = 0.0
    for _ in range(5_000):
        admission.offer("fast", "x", now)
        admission.offer("fast", "x", now)
        assert admission.next() is not None
        now += 1 / 5_000
        # Processors that do not suffice make its runs look long.
        admission.finished("fast", now, throttled=False, ran=Ran(0.05, 0.06))
        admission.clear()
    assert all(admission.offer("fast", "y", now) for _ in range(1_000))
    assert admission.spill(now) == []


def test_many_functions_that_went_quiet_are_forgotten() -> None:
    admission: Admission[str] = Admission(10, HELD_MAX)
    for number in range(5_000):
        admission.offer(f"f{number}", "x", 0.0)
        assert admission.next() is not None
        admission.finished(f"f{number}", 0.0, throttled=False)
    assert len(admission._functions) <= 1_001
