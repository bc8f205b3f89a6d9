"""The networks that a function may ask for, by one of its variables: a version keeps its own, any client can set it."""

from __future__ import annotations

from collections.abc import Mapping

VARIABLE = "LAMBDAD_NETWORK"
PUBLIC, NONE = "public", "none"
KINDS = (PUBLIC, NONE)


def wants_network(variables: Mapping[str, str]) -> bool:
    """What is no network that there is, is none: a slip must not open what was to be closed."""
    return variables.get(VARIABLE, PUBLIC) == PUBLIC
