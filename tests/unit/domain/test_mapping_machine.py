"""Every state of a mapping against every event; the table has what can happen, all of it and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from shared.domain.mappings import MappingState
from shared.domain.mappings.machine import TRANSITIONS, IllegalTransitionError, MappingEvent, advance, owners_event

S, E = MappingState, MappingEvent
OWNER = {E.OWNER_ENABLES, E.OWNER_DISABLES, E.OWNER_CHANGES, E.OWNER_DELETES}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(MappingState, MappingEvent)), ids=str)
def test_a_transition_is_in_the_table_or_refused(state: MappingState, event: MappingEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(IllegalTransitionError):
            advance(state, event)


def what_can_happen(state: MappingState, *, enabled: bool) -> Iterator[tuple[MappingEvent, bool]]:
    """Events, and whether the mapping is enabled after each. The control plane's owner_event and the pollers' rule of what runs."""
    if state is not S.DELETING:
        for wanted in (True, False):
            yield owners_event(was_enabled=enabled, is_enabled=wanted), wanted
        yield E.OWNER_DELETES, enabled
    yield (E.POLLING if enabled and state is not S.DELETING else E.STOPPED), enabled


def test_the_table_has_exactly_what_owners_and_pollers_can_do() -> None:
    seen: set[tuple[MappingState, MappingEvent]] = set()
    places = {(S.CREATING, True), (S.CREATING, False)}
    waiting = list(places)
    while waiting:
        state, enabled = waiting.pop()
        for event, enabled_after in what_can_happen(state, enabled=enabled):
            after = advance(state, event)
            seen.add((state, event))
            if after is not None and (after, enabled_after) not in places:
                places.add((after, enabled_after))
                waiting.append((after, enabled_after))
    assert seen == set(TRANSITIONS)


def test_a_mapping_that_is_not_to_run_ends_disabled_and_one_that_is_ends_enabled() -> None:
    for state in set(MappingState) - {S.DELETING}:
        if (state, E.POLLING) in TRANSITIONS:
            assert advance(state, E.POLLING) is S.ENABLED
        if (state, E.STOPPED) in TRANSITIONS:
            assert advance(state, E.STOPPED) is S.DISABLED


def test_only_a_stopped_deletion_ends_a_mapping_and_nothing_brings_one_back() -> None:
    assert [key for key, after in TRANSITIONS.items() if after is None] == [(S.DELETING, E.STOPPED)]
    assert [event for state, event in TRANSITIONS if state is S.DELETING] == [E.STOPPED]


def test_whatever_happens_a_mapping_can_be_deleted() -> None:
    for state in set(MappingState) - {S.DELETING}:
        assert advance(state, E.OWNER_DELETES) is S.DELETING


@pytest.mark.parametrize(
    ("events", "reached"),
    [
        ([E.POLLING], S.ENABLED),
        ([E.STOPPED], S.DISABLED),
        ([E.OWNER_CHANGES], S.CREATING),
        ([E.POLLING, E.OWNER_DISABLES, E.STOPPED], S.DISABLED),
        ([E.POLLING, E.OWNER_DISABLES, E.OWNER_CHANGES], S.DISABLING),
        ([E.POLLING, E.OWNER_DISABLES, E.STOPPED, E.OWNER_ENABLES, E.POLLING], S.ENABLED),
        ([E.STOPPED, E.OWNER_CHANGES, E.OWNER_ENABLES], S.ENABLING),
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
