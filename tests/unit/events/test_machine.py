"""Every state of a mapping against every event."""

from __future__ import annotations

import itertools

import pytest

from services.poller.mapping.machine import TRANSITIONS, IllegalTransitionError, MappingEvent, advance
from shared.domain.mappings import MappingState

S, E = MappingState, MappingEvent


@pytest.mark.parametrize(("state", "event"), list(itertools.product(MappingState, MappingEvent)), ids=str)
def test_a_transition_is_in_the_table_or_refused(state: MappingState, event: MappingEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(IllegalTransitionError):
            advance(state, event)


def test_only_a_stopped_deletion_ends_a_mapping() -> None:
    assert [key for key, after in TRANSITIONS.items() if after is None] == [(S.DELETING, E.STOPPED)]


def test_every_state_but_the_first_can_be_reached_and_every_one_can_be_left() -> None:
    assert {after for after in TRANSITIONS.values() if after is not None} == set(MappingState)
    assert {state for state, _ in TRANSITIONS} == set(MappingState)


def test_whatever_happens_a_mapping_can_be_deleted() -> None:
    for state in set(MappingState) - {S.DELETING}:
        assert advance(state, E.OWNER_DELETES) is S.DELETING


@pytest.mark.parametrize(
    ("events", "reached"),
    [
        ([E.POLLING], S.ENABLED),
        ([E.STOPPED], S.DISABLED),
        ([E.POLLING, E.OWNER_DISABLES, E.STOPPED], S.DISABLED),
        ([E.POLLING, E.OWNER_DISABLES, E.STOPPED, E.OWNER_ENABLES, E.POLLING], S.ENABLED),
        ([E.POLLING, E.OWNER_CHANGES, E.POLLING], S.ENABLED),
        ([E.POLLING, E.OWNER_DELETES, E.STOPPED], None),
    ],
)
def test_the_usual_lives_of_a_mapping(events: list[MappingEvent], reached: MappingState | None) -> None:
    state: MappingState | None = S.CREATING
    for event in events:
        assert state is not None
        state = advance(state, event)
    assert state is reached
