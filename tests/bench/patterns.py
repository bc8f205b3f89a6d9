"""Event patterns: events a second that one core matches against all the rules of a bus, parsing of each event included."""

from __future__ import annotations

import json
import time

import msgspec

from shared.domain.event_patterns import EventPattern, RuleSet
from tests.bench.report import Outcome, Row

RULES = (100, 1_000, 5_000)
SOURCES = 50
"""An event matches the rules of one of them, as far as their other conditions hold."""
EVENT = {
    "version": "0",
    "id": "f3c4a6f0-5a0b-4c6e-9a5d-3f1f6c2f5a11",
    "detail-type": "order.placed",
    "source": "shop.7",
    "account": "000000000000",
    "time": "2026-01-01T00:00:00Z",
    "region": "us-east-1",
    "resources": [],
    "detail": {
        "command": "update",
        "amount": 200,
        "items": [{"sku": "a", "count": 1}, {"sku": "b", "count": 2}],
        "user": {"name": "x", "tier": "gold"},
    },
}


def patterns(seconds: float) -> Outcome:
    outcome = Outcome("patterns", "events matched against the rules of a bus, one core", "per_s", 10_000)
    body = json.dumps(EVENT).encode()
    decode = msgspec.json.Decoder(dict).decode
    for count in RULES:
        rules = RuleSet({number: _pattern(number) for number in range(count)})
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            for _ in range(100):
                matched = rules.matching(decode(body))
            done += 100
        rate = done / (time.perf_counter() - begun)
        note = f"{len(matched)} rules match"
        outcome.rows.append(Row(f"lambdad, {count:,} rules", per_s=rate, count=done, note=note))
    return outcome


def _pattern(number: int) -> EventPattern:
    wanted = {
        "source": [f"shop.{number % SOURCES}"],
        "detail-type": [{"prefix": "order."}],
        "detail": {"amount": [{"numeric": [">", number % 300]}], "user": {"tier": ["gold", "silver"]}},
    }
    return EventPattern(json.dumps(wanted))
