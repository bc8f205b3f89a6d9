from __future__ import annotations

import itertools

import pytest

from services.worker.environment.machine import TRANSITIONS, Event, IllegalTransitionError, State, advance

LEGAL = {
    (State.STARTING, Event.STARTED): State.IDLE,
    (State.STARTING, Event.STOP): State.STOPPING,
    (State.IDLE, Event.INVOKED): State.BUSY,
    (State.IDLE, Event.FREEZE): State.FROZEN,
    (State.IDLE, Event.STOP): State.STOPPING,
    (State.FROZEN, Event.INVOKED): State.BUSY,
    (State.FROZEN, Event.STOP): State.STOPPING,
    (State.BUSY, Event.ANSWERED): State.IDLE,
    (State.BUSY, Event.STOP): State.STOPPING,
    (State.STOPPING, Event.DESTROYED): State.GONE,
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_event_in_every_state_does_what_the_picture_says_or_raises(state: State, event: Event) -> None:
    expected = LEGAL.get((state, event))
    if expected is not None:
        assert advance(state, event) is expected
    else:
        with pytest.raises(IllegalTransitionError, match=f"{state}.*{event}"):
            advance(state, event)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.GONE] = {}  # type: ignore[index]
    with pytest.raises(TypeError):
        TRANSITIONS[State.GONE][Event.STARTED] = State.IDLE  # type: ignore[index]


def test_an_environment_that_is_gone_stays_gone_and_every_other_state_can_get_there() -> None:
    assert not TRANSITIONS[State.GONE]
    for state in State:
        reached = {state}
        while True:
            further = reached | {following for s in reached for following in TRANSITIONS[s].values()}
            if further == reached:
                break
            reached = further
        assert State.GONE in reached
