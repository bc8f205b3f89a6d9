"""Schedules of EventBridge Scheduler and their groups: frozen records and ARNs. No I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.domain.arns import PARTITION, Home
from shared.domain.schedule_expressions import Rate, parse_expression
from shared.domain.timers import AGE_S_MAX, Timing

DEFAULT_GROUP = "default"
"""Is there in every region, and stays."""
RETRIES_MAX = 185
"""Where a schedule does not say."""
ENABLED = "ENABLED"
DELETE = "DELETE"


class Group(msgspec.Struct, frozen=True):
    """Times are Unix milliseconds."""

    home: Home
    name: str
    tags: dict[str, str]
    created_ms: int
    modified_ms: int

    @property
    def arn(self) -> str:
        return group_arn(self.home, self.name)


class Schedule(msgspec.Struct, frozen=True):
    """As it was sent, with what was left out. target: by the names of the service model. window_minutes: of a flexible time
    window, None for none. after_completion: NONE or DELETE."""

    home: Home
    group: str
    name: str
    expression: str
    time_zone: str
    state: str
    description: str | None
    kms_key_arn: str | None
    start_ms: int | None
    end_ms: int | None
    window_minutes: int | None
    after_completion: str
    target: dict[str, Any]
    created_ms: int
    modified_ms: int

    @property
    def arn(self) -> str:
        return schedule_arn(self.home, self.group, self.name)

    @property
    def age_s_max(self) -> int:
        return int(self.target.get("RetryPolicy", {}).get("MaximumEventAgeInSeconds", AGE_S_MAX))

    @property
    def retries_max(self) -> int:
        return int(self.target.get("RetryPolicy", {}).get("MaximumRetryAttempts", RETRIES_MAX))

    def timing(self, now_ms: int) -> Timing:
        """now_ms: from when on a rate counts where there is no start."""
        anchor_ms = 0
        if isinstance(parse_expression(self.expression), Rate):
            anchor_ms = now_ms if self.start_ms is None else self.start_ms
        window_ms = (self.window_minutes or 0) * 60_000
        return Timing(self.expression, self.time_zone, anchor_ms, self.start_ms, self.end_ms, window_ms)


def group_arn(home: Home, name: str) -> str:
    return f"arn:{PARTITION}:scheduler:{home.region}:{home.account_id}:schedule-group/{name}"


def schedule_arn(home: Home, group: str, name: str) -> str:
    return f"arn:{PARTITION}:scheduler:{home.region}:{home.account_id}:schedule/{group}/{name}"
