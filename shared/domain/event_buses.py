"""Event buses, rules, targets, archives and replays of EventBridge: frozen records, ARNs and bounds. No I/O."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from shared.domain.arns import PARTITION, Home

DEFAULT_BUS = "default"
RULES_MAX = 2_000
"""On one bus. AWS's quota is 300 and can be raised; this is where memory and time of a router are still small."""
TARGETS_MAX = 5
"""Of one rule; AWS's quota."""
BUSES_MAX = 1_000
ARCHIVES_MAX = 1_000
HOPS_MAX = 5
"""So many buses an event passes at most: a loop of them ends."""
RETRIES_DEFAULT = 185
AGE_S_DEFAULT = 86_400
SCHEDULED_SOURCE = "aws.events"
SCHEDULED_DETAIL_TYPE = "Scheduled Event"


class RuleState(enum.StrEnum):
    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    ENABLED_WITH_CLOUDTRAIL = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"


class ReplayState(enum.StrEnum):
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


Tags = list[dict[str, str]]
"""As AWS has them, in the order in which they were first given."""


class Bus(msgspec.Struct, frozen=True):
    """policy: a policy document, None without permissions. settings: further members of CreateEventBus as they were sent.
    revision: grows with every change of the bus, its rules, their targets or its archives."""

    home: Home
    name: str
    description: str | None
    policy: dict[str, Any] | None
    settings: dict[str, Any]
    tags: Tags
    created_ms: int
    modified_ms: int
    revision: int

    @property
    def arn(self) -> str:
        return bus_arn(self.home, self.name)


class Rule(msgspec.Struct, frozen=True):
    """pattern, schedule: at least one of them is set."""

    home: Home
    bus: str
    name: str
    pattern: str | None
    schedule: str | None
    state: RuleState
    description: str | None
    role_arn: str | None
    tags: Tags

    @property
    def arn(self) -> str:
        return rule_arn(self.home, self.bus, self.name)

    @property
    def enabled(self) -> bool:
        return self.state is not RuleState.DISABLED


class RuleTarget(msgspec.Struct, frozen=True):
    """settings: the target's other members as PutTargets took them."""

    rule: str
    id: str
    arn: str
    settings: dict[str, Any]


class Archive(msgspec.Struct, frozen=True):
    """topic: the Kafka topic that has its events, for as many days as it keeps them (0: for ever)."""

    home: Home
    name: str
    bus: str
    description: str | None
    pattern: str | None
    retention_days: int
    settings: dict[str, Any]
    topic: str
    created_ms: int
    events: int = 0
    size_bytes: int = 0

    @property
    def arn(self) -> str:
        return archive_arn(self.home, self.name)


class Replay(msgspec.Struct, frozen=True):
    """From an archive's events between two times to their bus. offset: where in the archive's topic it goes on."""

    home: Home
    name: str
    archive: str
    description: str | None
    destination: dict[str, Any]
    start_ms: int
    end_ms: int
    state: ReplayState
    started_ms: int
    reason: str | None = None
    ended_ms: int | None = None
    last_replayed_ms: int | None = None
    offset: int | None = None
    changed_ms: int = 0

    @property
    def arn(self) -> str:
        return replay_arn(self.home, self.name)


def _arn(home: Home, resource: str) -> str:
    return f"arn:{PARTITION}:events:{home.region}:{home.account_id}:{resource}"


def bus_arn(home: Home, name: str) -> str:
    return _arn(home, f"event-bus/{name}")


def rule_arn(home: Home, bus: str, name: str) -> str:
    return _arn(home, f"rule/{name}" if bus == DEFAULT_BUS else f"rule/{bus}/{name}")


def archive_arn(home: Home, name: str) -> str:
    return _arn(home, f"archive/{name}")


def replay_arn(home: Home, name: str) -> str:
    return _arn(home, f"replay/{name}")


def bus_name(name_or_arn: str | None) -> str:
    """Of a bus as requests name it; the bus default where they name none."""
    if not name_or_arn:
        return DEFAULT_BUS
    return name_or_arn.partition(":event-bus/")[2] if name_or_arn.startswith("arn:") else name_or_arn
