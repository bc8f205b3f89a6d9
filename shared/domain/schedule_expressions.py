"""Schedule expressions: `cron(...)`, `rate(...)`, `at(...)`, as EventBridge Scheduler and EventBridge's rules take them.

Moments are Unix milliseconds. What is due when: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo, available_timezones

from shared.domain.cron_expressions import YEAR_LAST, Cron, InvalidExpressionError, parse_cron

EXPRESSION_CHARACTERS_MAX = 256
UNITS_MS: Mapping[str, int] = MappingProxyType({"minute": 60_000, "hour": 3_600_000, "day": 86_400_000})
LATEST_MS = int(datetime(YEAR_LAST + 1, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""Nothing is due from here on."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RATE = re.compile(r"rate\(([0-9]{1,10}) (minute|hour|day)(s?)\)", re.ASCII)
_AT = re.compile(r"at\(([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})\)", re.ASCII)
_CRON = re.compile(r"cron\(([^()]*)\)")


@dataclasses.dataclass(frozen=True)
class Rate:
    """A day is 24 hours, whatever the clocks do."""

    period_ms: int

    def next_after_ms(self, after_ms: int, anchor_ms: int) -> int:
        """anchor_ms: the first firing of all; the others are whole periods later."""
        if after_ms < anchor_ms:
            return anchor_ms
        return anchor_ms + ((after_ms - anchor_ms) // self.period_ms + 1) * self.period_ms


@dataclasses.dataclass(frozen=True)
class At:
    """Once. local: wall-clock time of a zone."""

    local: datetime

    def moment_ms(self, zone: ZoneInfo) -> int:
        """Of a time that the clock skips: as much later as it is put forward, for it is not to be lost. The first of two."""
        return to_ms(self.local.replace(tzinfo=zone))


Expression = Cron | Rate | At


@functools.lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression:
    """Of EventBridge Scheduler. Raises InvalidExpressionError."""
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        raise InvalidExpressionError("an expression has 256 characters at most")
    if found := _AT.fullmatch(text):
        try:
            return At(datetime.fromisoformat(found[1]))
        except ValueError as error:
            raise InvalidExpressionError(str(error)) from None
    if found := _CRON.fullmatch(text):
        return parse_cron(found[1])
    return _rate(text, plurals_exact=False)


@functools.lru_cache(maxsize=4096)
def parse_rule_expression(text: str) -> Cron | Rate:
    """Of a rule of EventBridge: no `at`, and the unit in the singular for 1 alone. Raises InvalidExpressionError."""
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        raise InvalidExpressionError("an expression has 256 characters at most")
    if found := _CRON.fullmatch(text):
        return parse_cron(found[1])
    return _rate(text, plurals_exact=True)


def next_firing_ms(expression: Expression, zone: ZoneInfo, after_ms: int, anchor_ms: int) -> int | None:
    """The first firing later than `after_ms`; None when there is none. anchor_ms: of a rate, its first firing."""
    if after_ms >= LATEST_MS:
        return None
    if isinstance(expression, At):
        found: int | None = expression.moment_ms(zone)
        return found if found is not None and found > after_ms else None
    if isinstance(expression, Rate):
        found = expression.next_after_ms(after_ms, anchor_ms)
    else:
        moment = expression.next_after(_EPOCH + timedelta(milliseconds=after_ms), zone)
        found = None if moment is None else to_ms(moment)
    return found if found is not None and found < LATEST_MS else None


@functools.cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def time_zone(name: str) -> ZoneInfo | None:
    """By its name in the IANA database; None for what is not in there."""
    return ZoneInfo(name) if name in _zone_names() else None


def to_ms(moment: datetime) -> int:
    """Of a moment with a time zone."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _rate(text: str, *, plurals_exact: bool) -> Rate:
    found = _RATE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise InvalidExpressionError("neither cron(...) nor rate(number unit) nor at(time)")
    if plurals_exact and (int(found[1]) == 1) != (found[3] == ""):
        raise InvalidExpressionError("the unit is in the singular for 1 alone")
    return Rate(int(found[1]) * UNITS_MS[found[2]])
