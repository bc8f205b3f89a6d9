"""What makes that which an entry gives: calls, as data until the runner makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """A call, and which members of its reply are remembered under which placeholder's name (path to name).

    returns: what its reply has to be, with placeholders that take their values from it; None for anything.
    refused: the call is given as one that AWS refused. until: the call is made again until this holds of its reply.
    service: another one than the entry's (its name in botocore). region: another one than the cluster's first.
    headers: sent with it.
    """

    operation: str
    request: dict[str, Any]
    takes: dict[str, str] = field(default_factory=dict)
    returns: Any = None
    refused: bool = False
    until: Callable[[Any], bool] | None = None
    service: str | None = None
    region: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class NotUnderstoodError(Exception):
    """A sentence of `given` that its service's vocabulary does not have: an error of ours."""


class GivenError(Exception):
    """What is given could not be made: its call was refused, or it never became so."""
