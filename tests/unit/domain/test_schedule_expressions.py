"""Schedule expressions: what is one, and when each is due."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.cron_expressions import InvalidExpressionError
from shared.domain.schedule_expressions import (
    LATEST_MS,
    Rate,
    next_firing_ms,
    parse_expression,
    parse_rule_expression,
    time_zone,
    to_ms,
)

UTC_ZONE, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")
NOW_MS = to_ms(datetime(2025, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rate()",
        "rate(10)",
        "rate(0 minutes)",
        "rate(-10 minutes)",
        "rate(10 minutess)",
        "rate(10 seconds)",
        "rate(10 years)",
        "rate(foo minutes)",
        "rate(10 MINUTES)",
        "rate( 10 minutes )",
        " rate(10 minutes)",
        "rate(10  minutes)",
        "rate(1.5 hours)",
        "rate(99999999999 days)",
        "at(2021-12-31)",
        "at(2021-12-31T23:59:59Z)",
        "at(2021-12-31 23:59:59)",
        "at(2021-13-31T23:59:59)",
        "at(2021-02-30T23:59:59)",
        "at(2021-12-31T24:00:00)",
        "cron(INVALID)",
        "cron(0 1 * * ? *",
        "Cron(0 1 * * ? *)",
        "0 1 * * ? *",
        "cron(" + "0" * 260 + ")",
    ],
)
def test_what_is_no_expression_of_schedules_and_none_of_rules(text: str) -> None:
    with pytest.raises(InvalidExpressionError):
        parse_expression(text)
    with pytest.raises(InvalidExpressionError):
        parse_rule_expression(text)


@pytest.mark.parametrize("text", ["rate(1 minutes)", "rate(1 days)", "rate(10 minute)", "rate(5 hour)"])
def test_rules_are_strict_about_the_plural_and_schedules_are_not(text: str) -> None:
    assert isinstance(parse_expression(text), Rate)
    with pytest.raises(InvalidExpressionError):
        parse_rule_expression(text)


def test_rules_have_no_one_time_schedules() -> None:
    parse_expression("at(2030-01-01T00:00:00)")
    with pytest.raises(InvalidExpressionError):
        parse_rule_expression("at(2030-01-01T00:00:00)")


@given(st.integers(1, 10_000), st.sampled_from(["minutes", "hours", "days"]), st.integers(-(10**11), 10**11))
def test_a_rate_keeps_its_phase(number: int, unit: str, after_ms: int) -> None:
    rate = parse_expression(f"rate({number} {unit})")
    assert isinstance(rate, Rate)
    found = next_firing_ms(rate, UTC_ZONE, NOW_MS + after_ms, NOW_MS)
    assert found is not None
    assert found > NOW_MS + after_ms
    assert found >= NOW_MS
    assert (found - NOW_MS) % rate.period_ms == 0
    assert found == NOW_MS or found - rate.period_ms <= NOW_MS + after_ms


def test_a_day_of_a_rate_is_24_hours_when_the_clocks_change() -> None:
    noon = to_ms(datetime(2025, 3, 29, 12, tzinfo=BERLIN))
    assert next_firing_ms(parse_expression("rate(1 day)"), BERLIN, noon, noon) == noon + 24 * 3_600_000


def test_a_one_time_schedule_is_due_once() -> None:
    at = parse_expression("at(2025-06-01T08:00:07)")
    due = to_ms(datetime(2025, 6, 1, 6, 0, 7, tzinfo=UTC))
    assert next_firing_ms(at, BERLIN, due - 1, 0) == due
    assert next_firing_ms(at, BERLIN, due, 0) is None


def test_a_one_time_schedule_is_not_lost_where_the_clock_skips_its_time_and_not_doubled_where_it_comes_twice() -> None:
    skipped = next_firing_ms(parse_expression("at(2025-03-30T02:30:00)"), BERLIN, NOW_MS, 0)
    twice = next_firing_ms(parse_expression("at(2025-10-26T02:30:00)"), BERLIN, NOW_MS, 0)
    assert skipped == to_ms(datetime(2025, 3, 30, 1, 30, tzinfo=UTC))
    assert twice == to_ms(datetime(2025, 10, 26, 0, 30, tzinfo=UTC))
    assert next_firing_ms(parse_expression("at(2025-10-26T02:30:00)"), BERLIN, twice, 0) is None


@pytest.mark.parametrize("text", ["cron(* * * * ? *)", "rate(9999999999 days)", "at(9999-12-31T23:59:59)"])
def test_nothing_is_due_after_the_last_year(text: str) -> None:
    expression = parse_expression(text)
    for after_ms in (LATEST_MS - 1, LATEST_MS, 10**18):
        assert next_firing_ms(expression, BERLIN, after_ms, 0) is None or after_ms < LATEST_MS


def test_time_zones_are_those_of_the_iana_database() -> None:
    assert time_zone("America/Argentina/Ushuaia") is not None
    for name in ("", "Mars/Olympus", "europe/berlin", "../etc/passwd", "posix/UTC\0", "x" * 50):
        assert time_zone(name) is None
