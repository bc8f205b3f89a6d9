from __future__ import annotations

from services.worker.demand import AT_ONCE_S, DECAY_S, EXPECTED_S, IN_USE_S, KEPT_S, Demand


def test_what_was_taken_at_once_is_kept_ready_for_a_while_and_then_halves() -> None:
    demand = Demand(4, 100)
    for _ in range(40):
        demand.took(1.0)
    assert demand.depth(1.0) == 44
    assert demand.depth(1.0 + KEPT_S - 1) == 44
    assert demand.depth(1.0 + KEPT_S) == 24
    assert demand.depth(1.0 + KEPT_S + DECAY_S) == 14
    assert demand.depth(1.0 + KEPT_S + 6 * DECAY_S) == 4


def test_a_steady_trickle_counts_for_no_more_than_what_comes_at_once() -> None:
    demand = Demand(4, 100)
    for second in range(1_000):
        demand.took(float(second))
    assert demand.depth(1_000.0) <= 4 + int(AT_ONCE_S) + 1


def test_each_deployed_function_counts_until_it_is_invoked_or_a_while_has_passed() -> None:
    demand = Demand(4, 100)
    for _ in range(10):
        demand.expect(0.0)
    assert demand.depth(0.0) == 14
    demand.took(1.0)
    assert demand.depth(1.0) == 4 + 9 + 1
    assert demand.depth(EXPECTED_S) == 4


def test_the_depth_stays_within_its_bounds_whatever_comes() -> None:
    demand = Demand(4, 20)
    for _ in range(1_000):
        demand.expect(0.0)
        demand.took(0.0)
    assert demand.depth(0.0) == 20
    assert Demand(4, 0).depth(0.0) == 4


def test_what_does_not_last_is_kept_ready_only_while_it_is_used() -> None:
    demand = Demand(1, 10, lasting=False)
    assert demand.depth(0.0) == 0
    demand.expect(0.0)
    assert demand.depth(1.0) == 2
    demand.took(2.0)
    assert demand.depth(3.0) == 2
    assert demand.depth(2.0 + IN_USE_S) == 0
    demand.lasting = True
    assert demand.depth(2.0 + IN_USE_S) == 1
