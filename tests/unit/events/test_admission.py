"""No function fills the window alone, and none that is throttled spends its time being refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from services.poller.admission import Admission, Ran


def offered(running_max: int, **events: int) -> Admission[str]:
    admission: Admission[str] = Admission(running_max)
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
    admission: Admission[str] = Admission(400)
    assert work(admission, "waits", 20.0, lambda running: running * 10.0) == 300
    start_all(admission)
    admission.offer("quiet", "q", 21.0)
    assert admission.next() == ("quiet", "q")


def test_a_function_that_does_not_gain_by_running_more_at_once_stays_small() -> None:
    admission: Admission[str] = Admission(400)
    assert work(admission, "computes", 20.0, lambda running: 500.0) <= 64


def test_a_function_that_waits_for_the_platform_stays_as_small_as_it_began() -> None:
    admission: Admission[str] = Admission(400)
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
    admission: Admission[str] = Admission(400)
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


def test_only_what_waited_too_long_is_spilled_and_nothing_that_runs() -> None:
    admission = offered(4, slow=10)
    assert start_all(admission) == {"slow": 3}
    admission.offer("fresh", "f0", 5.0)
    assert admission.next() == ("fresh", "f0")
    admission.offer("fresh", "f1", 5.0)
    assert admission.spill(2.0) == [f"slow{n}" for n in range(3, 10)]
    assert (admission.running, admission.waiting) == (4, 1)


def test_many_functions_that_went_quiet_are_forgotten() -> None:
    admission: Admission[str] = Admission(10)
    for number in range(5_000):
        admission.offer(f"f{number}", "x", 0.0)
        assert admission.next() is not None
        admission.finished(f"f{number}", 0.0, throttled=False)
    assert len(admission._functions) <= 1_001
