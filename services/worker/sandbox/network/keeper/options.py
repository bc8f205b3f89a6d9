"""What a worker tells the keeper of its network, once, and what it hears."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from services.worker.sandbox.network.gateway.process import GatewayOptions


class Reach(StrEnum):
    """How far a function's packets get."""

    OUTSIDE = "outside"
    CLUSTER = "cluster"
    """The cluster's endpoint and the resolver, for the host does not lead further."""
    NOWHERE = "none"


class KeeperOptions(msgspec.Struct, frozen=True):
    """reach: the furthest that is wanted. ports: where the endpoint answers. connections_max: of a sandbox at one time.
    allowed, denied: networks (plan.py). attached: whether the networks that the host is attached to may be reached; bridges:
    whether networks that it has on bridges of its own may."""

    reach: Reach
    ports: tuple[int, ...]
    connections_max: int
    allowed: tuple[str, ...]
    denied: tuple[str, ...]
    attached: bool
    bridges: bool
    gateway: GatewayOptions


class Report(msgspec.Struct, frozen=True):
    """reach: what came of it. problem: why it is less than was wanted. error: why there is no network at all."""

    reach: Reach = Reach.NOWHERE
    problem: str | None = None
    error: str | None = None
