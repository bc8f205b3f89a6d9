"""When a line of a log was written: services, engines and the supervisor each say it in their own way."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d+)([smhd])")
_ISO = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,]\d+)? ?(Z|UTC|GMT|[+-]\d\d:?\d\d)?")
_REDIS = re.compile(r"\d{2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d")
_LOOKED_AT = 200


def moment(text: str) -> datetime:
    """`10m` (ago) or a time, local unless it says otherwise. Raises ValueError."""
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise ValueError(f"{text} is neither like 30s, 10m, 2h, 1d nor a time like 2026-02-03T04:05") from None


def written_at(line: str) -> datetime | None:
    """None for a line without a time: it belongs to what is before it."""
    head = line[:_LOOKED_AT]
    if iso := _ISO.search(head):
        zone = {"Z": "+00:00", "UTC": "+00:00", "GMT": "+00:00"}.get(iso[2] or "", iso[2] or "")
        return datetime.fromisoformat(iso[1] + zone).astimezone(UTC)
    if redis := _REDIS.search(head):
        return datetime.strptime(redis[0], "%d %b %Y %H:%M:%S").astimezone(UTC)
    return None
