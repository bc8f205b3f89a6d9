"""Cron expressions, against a slow reader of the same syntax that shares no code with them: it asks of every minute whether
every field takes it."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.cron_expressions import InvalidExpressionError, parse_cron

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/St_Johns",
]
DAYS_MAX = 70


def numbers(low: int, high: int, names: list[str] | None = None) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    text = value.map(str) if names is None else value.flatmap(lambda at: st.sampled_from([str(at), names[at - low]]))
    item = st.one_of(
        text,
        st.tuples(text, text).map("-".join),
        st.tuples(st.one_of(st.just("*"), text), st.integers(1, high)).map(lambda parts: f"{parts[0]}/{parts[1]}"),
        st.tuples(text, text, st.integers(1, high)).map(lambda parts: f"{parts[0]}-{parts[1]}/{parts[2]}"),
    )
    return st.one_of(st.just("*"), st.lists(item, min_size=1, max_size=3).map(",".join))


day = st.integers(1, 31)
weekday = st.integers(1, 7).flatmap(lambda at: st.sampled_from([str(at), WEEKDAYS[at - 1]]))
days_of_month = st.one_of(
    numbers(1, 31), st.just("L"), st.just("LW"), day.map("{}W".format), st.integers(0, 30).map("L-{}".format)
)
days_of_week = st.one_of(
    numbers(1, 7, WEEKDAYS),
    st.just("L"),
    weekday.map("{}L".format),
    st.tuples(weekday, st.integers(1, 5)).map(lambda parts: f"{parts[0]}#{parts[1]}"),
)
day_fields = st.one_of(st.tuples(days_of_month, st.just("?")), st.tuples(st.just("?"), days_of_week))
years = st.one_of(st.just("*"), st.sampled_from(["2024", "2025-2027", "2024/2", "2023,2026"]))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    of_month, of_week = draw(day_fields)
    fields = (draw(numbers(0, 59)), draw(numbers(0, 23)), of_month, draw(numbers(1, 12, MONTHS)), of_week, draw(years))
    return " ".join(fields)


# ---- the slow reader


def takes(field: str, value: int, low: int, high: int, names: list[str] | None = None) -> bool:
    def number(text: str) -> int:
        return names.index(text) + low if names is not None and text in names else int(text)

    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        begin = low if span == "*" else number(first)
        end = high if span == "*" or (step and not last) else number(last or first)
        at = begin
        for _ in range(high - low + 1):
            if at == value and (not step or (value - begin) % (high - low + 1) % int(step) == 0):
                return True
            if at == end:
                break
            at = low if at == high else at + 1
    return False


def takes_day_of_month(field: str, on: date) -> bool:
    last = calendar.monthrange(on.year, on.month)[1]
    if field.endswith("W"):
        wanted = last if field == "LW" else int(field[:-1])
        if wanted > last or on.weekday() > 4:
            return False
        workdays = [d for d in range(1, last + 1) if date(on.year, on.month, d).weekday() < 5]
        return on.day == min(workdays, key=lambda d: abs(d - wanted))
    if field.startswith("L"):
        return (on + timedelta(days=int(field[2:] or 0))).day == last and on.day + int(field[2:] or 0) == last
    return takes(field, on.day, 1, 31)


def takes_day_of_week(field: str, on: date) -> bool:
    name = WEEKDAYS[(on.weekday() + 1) % 7]
    number = str(WEEKDAYS.index(name) + 1)
    if field == "L":
        return name == "SAT"
    if field.endswith("L"):
        return field[:-1] in (name, number) and (on + timedelta(days=7)).month != on.month
    if "#" in field:
        which, nth = field.split("#")
        return which in (name, number) and (on.day + 6) // 7 == int(nth)
    return takes(field, int(number), 1, 7, WEEKDAYS)


def slow_next(expression: str, after: datetime, zone: ZoneInfo) -> datetime | None:
    """Of the next DAYS_MAX days."""
    minute, hour, of_month, month, of_week, year = expression.split()
    known: dict[date, bool] = {}
    moment = after.replace(second=0, microsecond=0)
    for _ in range(DAYS_MAX * 24 * 60):
        moment += timedelta(minutes=1)
        local = moment.astimezone(zone)
        on = local.date()
        if on not in known:
            known[on] = (
                takes(year, on.year, 1970, 2199)
                and takes(month, on.month, 1, 12, MONTHS)
                and (of_month == "?" or takes_day_of_month(of_month, on))
                and (of_week == "?" or takes_day_of_week(of_week, on))
            )
        if not known[on]:
            # To the last minute of the UTC hour: no zone changes its offset by less than a quarter of one.
            moment += timedelta(minutes=14 - moment.minute % 15)
        elif local.fold == 0 and takes(hour, local.hour, 0, 23) and takes(minute, local.minute, 0, 59):
            return moment
    return None


@settings(max_examples=60, deadline=None)
@given(
    expressions(),
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC)),
    st.sampled_from(ZONES),
)
def test_the_next_firing_is_the_one_that_asking_every_minute_finds(expression: str, after: datetime, zone_name: str) -> None:
    zone = ZoneInfo(zone_name)
    found = parse_cron(expression).next_after(after, zone)
    expected = slow_next(expression, after, zone)
    if expected is None:
        assert found is None or found >= after + timedelta(days=DAYS_MAX - 1)
    else:
        assert found == expected


def firings(expression: str, after: datetime, zone_name: str, count: int) -> list[str]:
    cron, zone, found = parse_cron(expression), ZoneInfo(zone_name), []
    moment: datetime | None = after
    for _ in range(count):
        assert moment is not None
        moment = cron.next_after(moment, zone)
        found.append("never" if moment is None else moment.astimezone(zone).strftime("%Y-%m-%d %H:%M %z"))
    return found


def test_a_time_that_the_clock_skips_is_skipped() -> None:
    found = firings("30 2 * * ? *", datetime(2025, 3, 28, 12, tzinfo=UTC), "Europe/Berlin", 3)
    assert found == ["2025-03-29 02:30 +0100", "2025-03-31 02:30 +0200", "2025-04-01 02:30 +0200"]


def test_a_time_that_the_clock_shows_twice_is_due_once() -> None:
    found = firings("30 2 * * ? *", datetime(2025, 10, 25, 12, tzinfo=UTC), "Europe/Berlin", 2)
    assert found == ["2025-10-26 02:30 +0200", "2025-10-27 02:30 +0100"]


def test_a_day_that_a_zone_never_had_is_skipped() -> None:
    found = firings("0 12 * * ? *", datetime(2011, 12, 29, 23, tzinfo=UTC), "Pacific/Apia", 1)
    assert found == ["2011-12-31 12:00 +1400"]


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("0 0 29 2 ? *", "2028-02-29 00:00 +0000"),
        ("0 12 1W * ? *", "2025-01-01 12:00 +0000"),
        ("0 12 1W FEB ? *", "2025-02-03 12:00 +0000"),
        ("0 12 2W AUG ? *", "2025-08-01 12:00 +0000"),
        ("0 12 31W 5 ? *", "2025-05-30 12:00 +0000"),
        ("0 12 LW 5 ? *", "2025-05-30 12:00 +0000"),
        ("0 12 L-3 * ? *", "2025-01-28 12:00 +0000"),
        ("0 12 ? * 6L *", "2025-01-31 12:00 +0000"),
        ("0 12 ? * friL *", "2025-01-31 12:00 +0000"),
        ("0 12 ? * L *", "2025-01-04 12:00 +0000"),
        ("0 12 ? 2 SAT#5 *", "2048-02-29 12:00 +0000"),
        ("0 12 ? * FRI-MON *", "2025-01-03 12:00 +0000"),
        ("0 22-2 * * ? *", "2025-01-01 01:00 +0000"),
        ("0/5, 9-18, ?, *, MON-FRI, *", "2025-01-01 09:00 +0000"),
        ("/20 * * * ? *", "2025-01-01 00:20 +0000"),
        ("0 0 30 2 ? *", "never"),
        ("0 0 1 1 ? 2024", "never"),
        ("59 23 31 12 ? 2199", "2199-12-31 23:59 +0000"),
    ],
)
def test_what_is_special_about_awss_syntax(expression: str, first: str) -> None:
    assert firings(expression, datetime(2025, 1, 1, tzinfo=UTC), "UTC", 1) == [first]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "INVALID",
        "0 1 * * * *",
        "0 1 ? * ? *",
        "0 1 * * ?",
        "0 0 1 * * ? *",
        "71 8 1 * ? *",
        "0 24 1 * ? *",
        "0 dummy ? * MON-FRI *",
        "7 20 ? * NOT *",
        "0 0 0 * ? *",
        "0 0 ? * 0 *",
        "0 0 ? * 8 *",
        "0 0 ? * MON#6 *",
        "0 0 ? * 3#1,6#3 *",
        "0 0 1W,15W * ? *",
        "0 0 L,15 * ? *",
        "0 0 32W * ? *",
        "0 0 1-32 * ? *",
        "0 0 1 13 ? *",
        "0 0 1 * ? 1969",
        "0 0 1 * ? 2200",
        "0 0 1 * ? 2030-2020",
        "0/0 0 1 * ? *",
        "*/60 0 1 * ? *",
        "- 0 1 * ? *",
        "1- 0 1 * ? *",
        "1-2-3 0 1 * ? *",
        "1/2/3 0 1 * ? *",
        "? 0 1 * ? *",
        ", 0 1 * ? *",
        "+1 0 1 * ? *",
        "1_0 0 1 * ? *",
        "١ 0 1 * ? *",
    ],
)
def test_what_is_no_cron_expression(expression: str) -> None:
    with pytest.raises(InvalidExpressionError):
        parse_cron(expression)


@settings(deadline=None)
@given(st.text(alphabet="0123456789*/,-?LW#MONFRI ", max_size=40))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    try:
        cron = parse_cron(text)
    except InvalidExpressionError:
        return
    cron.next_after(datetime(2025, 1, 1, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
