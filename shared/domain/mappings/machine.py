"""The life of an event source mapping as one frozen table.

The control plane advances it by what its owner asks for, the pollers by what they reached; an event that the table does not
have for a state raises and changes nothing.
"""

from __future__ import annotations

import enum
from types import MappingProxyType

from shared.domain.errors import LambdadError
from shared.domain.mappings import MappingState


class MappingEvent(enum.Enum):
    """What happens to a mapping: what its owner asks for, and what the poller reports."""

    OWNER_ENABLES = "owner enables"
    OWNER_DISABLES = "owner disables"
    OWNER_CHANGES = "owner changes"
    OWNER_DELETES = "owner deletes"
    POLLING = "polling"
    STOPPED = "stopped"


def owners_event(*, was_enabled: bool, is_enabled: bool) -> MappingEvent:
    """What an update of a mapping's settings is to its state."""
    if was_enabled == is_enabled:
        return MappingEvent.OWNER_CHANGES
    return MappingEvent.OWNER_ENABLES if is_enabled else MappingEvent.OWNER_DISABLES


class IllegalTransitionError(LambdadError):
    """The event cannot happen to a mapping in that state."""


GONE = None
"""After the last transition of a deleted mapping there is no row left."""

_S, _E = MappingState, MappingEvent

TRANSITIONS: MappingProxyType[tuple[MappingState, MappingEvent], MappingState | None] = MappingProxyType(
    {
        (_S.CREATING, _E.POLLING): _S.ENABLED,
        (_S.CREATING, _E.STOPPED): _S.DISABLED,
        (_S.CREATING, _E.OWNER_CHANGES): _S.CREATING,
        # Created disabled, and enabled before any poller saw it.
        (_S.CREATING, _E.OWNER_ENABLES): _S.ENABLING,
        (_S.CREATING, _E.OWNER_DISABLES): _S.DISABLING,
        (_S.CREATING, _E.OWNER_DELETES): _S.DELETING,
        (_S.ENABLING, _E.POLLING): _S.ENABLED,
        (_S.ENABLING, _E.OWNER_CHANGES): _S.ENABLING,
        (_S.ENABLING, _E.OWNER_DISABLES): _S.DISABLING,
        (_S.ENABLING, _E.OWNER_DELETES): _S.DELETING,
        # A second poller that joins finds it enabled already.
        (_S.ENABLED, _E.POLLING): _S.ENABLED,
        (_S.ENABLED, _E.OWNER_CHANGES): _S.UPDATING,
        (_S.ENABLED, _E.OWNER_DISABLES): _S.DISABLING,
        (_S.ENABLED, _E.OWNER_DELETES): _S.DELETING,
        (_S.UPDATING, _E.POLLING): _S.ENABLED,
        (_S.UPDATING, _E.STOPPED): _S.DISABLED,
        (_S.UPDATING, _E.OWNER_CHANGES): _S.UPDATING,
        # Changed while it was disabled, and enabled before a poller saw the change.
        (_S.UPDATING, _E.OWNER_ENABLES): _S.ENABLING,
        (_S.UPDATING, _E.OWNER_DISABLES): _S.DISABLING,
        (_S.UPDATING, _E.OWNER_DELETES): _S.DELETING,
        (_S.DISABLING, _E.STOPPED): _S.DISABLED,
        (_S.DISABLING, _E.OWNER_ENABLES): _S.ENABLING,
        (_S.DISABLING, _E.OWNER_CHANGES): _S.DISABLING,
        (_S.DISABLING, _E.OWNER_DELETES): _S.DELETING,
        (_S.DISABLED, _E.STOPPED): _S.DISABLED,
        (_S.DISABLED, _E.OWNER_ENABLES): _S.ENABLING,
        (_S.DISABLED, _E.OWNER_CHANGES): _S.UPDATING,
        (_S.DISABLED, _E.OWNER_DELETES): _S.DELETING,
        (_S.DELETING, _E.STOPPED): GONE,
    }
)


def advance(state: MappingState, event: MappingEvent) -> MappingState | None:
    """The state after `event`; None when the mapping is gone. Raises IllegalTransitionError."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(f"a mapping that is {state.value} cannot take {event.value!r}") from None
