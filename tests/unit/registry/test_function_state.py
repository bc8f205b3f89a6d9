from __future__ import annotations

import itertools

import pytest

from shared.domain.function_state import (
    CREATED,
    PUBLISHED,
    TRANSITIONS,
    Event,
    IllegalTransitionError,
    State,
    Status,
    UpdateStatus,
    advance,
)

STATUSES = [Status(state, update) for state, update in itertools.product(State, UpdateStatus)]


@pytest.mark.parametrize(("status", "event"), list(itertools.product(STATUSES, Event)))
def test_every_event_in_every_state_is_in_the_table_or_refused(status: Status, event: Event) -> None:
    if (status, event) in TRANSITIONS:
        assert advance(status, event) == TRANSITIONS[status, event]
    else:
        with pytest.raises(IllegalTransitionError):
            advance(status, event)


def test_every_state_that_can_be_reached_can_be_settled() -> None:
    reached, waiting = {CREATED, PUBLISHED}, [CREATED, PUBLISHED]
    while waiting:
        status = waiting.pop()
        following = {after for (before, _), after in TRANSITIONS.items() if before == status}
        assert following, f"nothing leads out of {status}"
        assert status.settled or any(after.settled for after in following)
        waiting.extend(following - reached)
        reached |= following
    assert all(before in reached for before, _ in TRANSITIONS)
