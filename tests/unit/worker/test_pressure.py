"""Who goes when memory runs out, and when anybody does."""

from __future__ import annotations

from collections.abc import Sequence

from services.worker.pressure import HIGH, LOW, STOPPED_AT_ONCE_MAX, Idle, MemoryPressure, victims

MIB = 1024**2


def idle(name: str, since: float, mb: int = 10, *, provisioned: bool = False) -> Idle:
    return Idle(name, since, mb * MIB, provisioned)


def test_who_was_not_used_for_longest_goes_first_and_no_more_than_have_to() -> None:
    found = [idle("c", 3.0), idle("a", 1.0), idle("d", 4.0), idle("b", 2.0)]
    assert victims(found, 15 * MIB) == ["a", "b"]
    assert victims(found, 1) == ["a"]
    assert victims(found, 0) == []
    assert victims([], 15 * MIB) == []


def test_provisioned_ones_go_after_all_others_however_long_they_were_not_used() -> None:
    found = [idle("p1", 0.0, provisioned=True), idle("a", 5.0), idle("p2", 0.5, provisioned=True), idle("b", 6.0)]
    assert victims(found, 1_000 * MIB) == ["a", "b", "p1", "p2"]
    assert victims(found, 20 * MIB) == ["a", "b"]


def test_large_ones_are_not_chosen_for_their_size() -> None:
    assert victims([idle("large", 2.0, mb=500), idle("old", 1.0, mb=1)], 400 * MIB) == ["old", "large"]


def test_only_so_many_go_at_once() -> None:
    assert len(victims([idle(f"e{n}", n, mb=0) for n in range(1_000)], MIB)) == STOPPED_AT_ONCE_MAX


class Worker:
    def __init__(self, used: int) -> None:
        self.used, self.failing, self.asked = used, False, 0
        self.idle = [idle(f"e{number}", number) for number in range(20)]
        self.stopped: list[str] = []
        self.pressure = MemoryPressure(1_000 * MIB, self._used, self._idle, self._stop)

    def _used(self, exact_above: int) -> int:
        assert exact_above == 1_000 * MIB * HIGH
        if self.failing:
            raise OSError("no such cgroup")
        return self.used

    def _idle(self) -> list[Idle]:
        self.asked += 1
        return self.idle

    def _stop(self, chosen: Sequence[str]) -> None:
        self.stopped += chosen


def test_nobody_goes_and_nobody_is_looked_at_while_there_is_memory() -> None:
    worker = Worker(int(1_000 * MIB * HIGH))
    worker.pressure.check()
    assert (worker.stopped, worker.asked) == ([], 0)


def test_above_the_mark_as_many_go_as_lead_well_below_it() -> None:
    worker = Worker(int(1_000 * MIB * HIGH) + 1)
    worker.pressure.check()
    assert worker.stopped == [f"e{number}" for number in range(round((HIGH - LOW) * 100) + 1)]


def test_memory_that_cannot_be_read_stops_nobody() -> None:
    worker = Worker(1_000 * MIB)
    worker.failing = True
    worker.pressure.check()
    assert worker.stopped == []
