"""AWS's cron expressions: six fields, of which one names days and the other days' `?`, and when they are next.

Ours, because no library has all of it. croniter 7 knows neither L of a weekday nor L-n nor LW, takes `*` in both day fields,
and its sixth field is seconds; cronsim 2.8 has no W, no years and no `?`; pyawscron 1.0, made for these very expressions,
raises ValueError for 29 February and IndexError for FRI-MON, takes 71 for a minute, and knows UTC alone. APScheduler has no W.
Most number weekdays from 0, Sunday or Monday; AWS from 1, Sunday.

What AWS's documentation leaves open is as in Quartz, whose syntax this is: empty items of a list are passed over, ranges may
wrap around (FRI-MON, 22-2; not years), L and W stand alone, W never leaves its month, and a month without the 31st has no 31W.
"""

from __future__ import annotations

import calendar
import dataclasses
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from shared.domain.errors import LambdadError

YEAR_FIRST, YEAR_LAST = 1970, 2199
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTH_NAMES = {name: number for number, name in enumerate(MONTHS, 1)}
DAY_NAMES = {name: number for number, name in enumerate(WEEKDAYS, 1)}
SATURDAY = 7
_ITEM = re.compile(r"(?P<all>\*)|(?P<first>[0-9A-Z]+)(?:-(?P<last>[0-9A-Z]+))?")
_NUMBER = re.compile(r"[0-9]{1,4}")
_LAST_DAY = re.compile(r"L(?:-([0-9]{1,2}))?")
_NEAREST = re.compile(r"(?:([0-9]{1,2})|L)W|WL")
_LAST_WEEKDAY = re.compile(r"([0-9A-Z]+)L")
_NTH_WEEKDAY = re.compile(r"([0-9A-Z]+)#([1-5])")


class InvalidExpressionError(LambdadError):
    """Not an expression as AWS has them."""


class Days(Protocol):
    def of(self, year: int, month: int) -> list[int]:
        """Days of the month, in order."""
        ...


@dataclasses.dataclass(frozen=True)
class DaysOfMonth:
    days: tuple[int, ...]

    def of(self, year: int, month: int) -> list[int]:
        last = _last_day(year, month)
        return [day for day in self.days if day <= last]


@dataclasses.dataclass(frozen=True)
class LastDay:
    """before: so many days before the month's last (L-3)."""

    before: int = 0

    def of(self, year: int, month: int) -> list[int]:
        day = _last_day(year, month) - self.before
        return [day] if day >= 1 else []


@dataclasses.dataclass(frozen=True)
class NearestWorkday:
    """The day from Monday to Friday that is nearest to `day` and in its month; None: to the month's last (LW)."""

    day: int | None

    def of(self, year: int, month: int) -> list[int]:
        last = _last_day(year, month)
        day = last if self.day is None else self.day
        if day > last:
            return []
        weekday = calendar.weekday(year, month, day)
        if weekday == calendar.SATURDAY:
            return [day - 1 if day > 1 else day + 2]
        if weekday == calendar.SUNDAY:
            return [day + 1 if day < last else day - 2]
        return [day]


@dataclasses.dataclass(frozen=True)
class DaysOfWeek:
    """weekdays: 1 is Sunday."""

    weekdays: tuple[int, ...]

    def of(self, year: int, month: int) -> list[int]:
        return sorted(day for weekday in self.weekdays for day in _each(year, month, weekday))


@dataclasses.dataclass(frozen=True)
class NthWeekday:
    """at: 0 for the month's first, -1 for its last."""

    weekday: int
    at: int

    def of(self, year: int, month: int) -> list[int]:
        days = _each(year, month, self.weekday)
        return [days[self.at]] if self.at < len(days) else []


@dataclasses.dataclass(frozen=True)
class Cron:
    """When something is due, in wall-clock time. All in ascending order."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    months: tuple[int, ...]
    years: tuple[int, ...]

    def next_after(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        """The first moment later than `after` (of a time zone); None when there is none.

        A time that the clock skips when it is put forward is skipped; of one that it shows twice, the first counts, as AWS
        documents for daylight saving.
        """
        if after.year > YEAR_LAST:
            return None
        start = after.astimezone(zone).replace(tzinfo=None)
        for day in self._days_from(start.date()):
            first = start if day == start.date() else None
            for hour in self.hours:
                if first is not None and hour < first.hour:
                    continue
                for minute in self.minutes:
                    moment = moment_of(datetime(day.year, day.month, day.day, hour, minute), zone)
                    if moment is not None and moment > after:
                        return moment
        return None

    def _days_from(self, start: date) -> Iterator[date]:
        for year in self.years:
            if year < start.year:
                continue
            for month in self.months:
                if (year, month) < (start.year, start.month):
                    continue
                for day in self.days.of(year, month):
                    if (year, month, day) >= (start.year, start.month, start.day):
                        yield date(year, month, day)


def moment_of(local: datetime, zone: ZoneInfo) -> datetime | None:
    """The moment at which the clocks of a zone first show a time, in UTC; None for one that they never show."""
    moment = local.replace(tzinfo=zone).astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == local else None


def parse_cron(text: str) -> Cron:
    """What is between the brackets of `cron(...)`. Raises InvalidExpressionError."""
    fields = text.upper().split()
    if len(fields) != 6:
        raise InvalidExpressionError("a cron expression has six fields")
    minutes, hours, day_of_month, months, day_of_week, years = (
        ",".join(item for item in field.split(",") if item) for field in fields
    )
    if (day_of_month == "?") == (day_of_week == "?"):
        raise InvalidExpressionError("exactly one of day-of-month and day-of-week is ?")
    return Cron(
        minutes=_values(minutes, 0, 59),
        hours=_values(hours, 0, 23),
        days=_days_of_month(day_of_month) if day_of_week == "?" else _days_of_week(day_of_week),
        months=_values(months, 1, 12, MONTH_NAMES),
        years=_values(years, YEAR_FIRST, YEAR_LAST, wraps=False),
    )


def _days_of_month(field: str) -> Days:
    if found := _LAST_DAY.fullmatch(field):
        return LastDay(_within(found[1] or "0", 0, 30))
    if found := _NEAREST.fullmatch(field):
        return NearestWorkday(_within(found[1], 1, 31) if found[1] is not None else None)
    return DaysOfMonth(_values(field, 1, 31))


def _days_of_week(field: str) -> Days:
    if field == "L":
        return DaysOfWeek((SATURDAY,))
    if found := _LAST_WEEKDAY.fullmatch(field):
        return NthWeekday(_within(found[1], 1, 7, DAY_NAMES), -1)
    if found := _NTH_WEEKDAY.fullmatch(field):
        return NthWeekday(_within(found[1], 1, 7, DAY_NAMES), int(found[2]) - 1)
    return DaysOfWeek(_values(field, 1, 7, DAY_NAMES))


def _values(field: str, low: int, high: int, names: Mapping[str, int] | None = None, *, wraps: bool = True) -> tuple[int, ...]:
    """Of a list of numbers, ranges and steps."""
    found: set[int] = set()
    for item in field.split(","):
        among, slash, step_text = item.partition("/")
        if slash and not among:
            among = "*"
        step = _within(step_text, 1, high) if slash else 1
        parts = _ITEM.fullmatch(among)
        if parts is None:
            raise InvalidExpressionError(f"{item} is no number, range or step")
        if parts["all"]:
            first, last = low, high
        else:
            first = _within(parts["first"], low, high, names)
            # A number with a step begins a range that goes to the field's end.
            last = _within(parts["last"], low, high, names) if parts["last"] else (high if slash else first)
        if last < first:
            if not wraps:
                raise InvalidExpressionError(f"{item} ends before it begins")
            last += high - low + 1
        found.update((value - low) % (high - low + 1) + low for value in range(first, last + 1, step))
    return tuple(sorted(found))


def _within(text: str, low: int, high: int, names: Mapping[str, int] | None = None) -> int:
    value = (names or {}).get(text)
    if value is None:
        value = int(text) if _NUMBER.fullmatch(text) else None
    if value is None or not low <= value <= high:
        raise InvalidExpressionError(f"{text} is not from {low} to {high}")
    return value


def _last_day(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _each(year: int, month: int, weekday: int) -> list[int]:
    """The days of a month that are this weekday; 1 is Sunday."""
    first = date(year, month, 1)
    ahead = (weekday - 1 - (first.weekday() + 1)) % 7
    return list(range((first + timedelta(days=ahead)).day, _last_day(year, month) + 1, 7))
