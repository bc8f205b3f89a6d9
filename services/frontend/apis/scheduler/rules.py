"""What a schedule must be, beyond what the service model says. Texts without a source are ours."""

from __future__ import annotations

from typing import Any

from services.frontend.apis.scheduler.context import group_of
from shared.aws.protocols.protocol import Params
from shared.domain import schedule_targets
from shared.domain.arns import Home
from shared.domain.cron_expressions import InvalidExpressionError
from shared.domain.errors import ValidationException
from shared.domain.schedule_expressions import At, parse_expression, time_zone
from shared.domain.schedules import ENABLED, RETRIES_MAX, Schedule
from shared.domain.timers import AGE_S_MAX

FLEXIBLE = "FLEXIBLE"
START_BEFORE_MS_MAX = 5 * 60_000


def checked(home: Home, params: Params, now_ms: int) -> Schedule:
    """The schedule that a request describes, made and changed now. Raises ValidationException."""
    text = params["ScheduleExpression"]
    try:
        expression = parse_expression(text)
    except InvalidExpressionError:
        raise ValidationException(f"Invalid Schedule Expression {text}.") from None
    zone = params.get("ScheduleExpressionTimezone") or "UTC"
    if time_zone(zone) is None:
        raise ValidationException(f"Invalid Schedule Expression Timezone {zone}.")
    start_ms, end_ms = _ms(params.get("StartDate")), _ms(params.get("EndDate"))
    if not isinstance(expression, At):
        _check_bounds(start_ms, end_ms, now_ms)
    target = _with_retries(params["Target"])
    schedule_targets.check(target)
    return Schedule(
        home=home,
        group=group_of(params),
        name=params["Name"],
        expression=text,
        time_zone=zone,
        state=params.get("State") or ENABLED,
        description=params.get("Description"),
        kms_key_arn=params.get("KmsKeyArn"),
        start_ms=start_ms,
        end_ms=end_ms,
        window_minutes=_window(params["FlexibleTimeWindow"]),
        after_completion=params.get("ActionAfterCompletion") or "NONE",
        target=target,
        created_ms=now_ms,
        modified_ms=now_ms,
    )


def _check_bounds(start_ms: int | None, end_ms: int | None, now_ms: int) -> None:
    """Of what recurs; a one-time schedule's are not looked at."""
    if start_ms is not None and start_ms < now_ms - START_BEFORE_MS_MAX:
        raise ValidationException("The StartDate you specify cannot be earlier than 5 minutes ago.")
    if end_ms is not None and end_ms < now_ms:
        raise ValidationException("The EndDate you specify cannot be in the past.")
    if start_ms is not None and end_ms is not None and end_ms <= start_ms:
        raise ValidationException("The EndDate you specify must be later than the StartDate.")


def _window(sent: dict[str, Any]) -> int | None:
    minutes: int | None = sent.get("MaximumWindowInMinutes")
    if sent["Mode"] == FLEXIBLE:
        if minutes is None:
            raise ValidationException("MaximumWindowInMinutes is required when the Mode of FlexibleTimeWindow is FLEXIBLE.")
        return minutes
    if minutes is not None:
        raise ValidationException("MaximumWindowInMinutes must not be set when the Mode of FlexibleTimeWindow is OFF.")
    return None


def _with_retries(target: dict[str, Any]) -> dict[str, Any]:
    """Shown with the retry policy that holds where none was sent."""
    policy = {"MaximumEventAgeInSeconds": AGE_S_MAX, "MaximumRetryAttempts": RETRIES_MAX, **(target.get("RetryPolicy") or {})}
    return {**target, "RetryPolicy": policy}


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
