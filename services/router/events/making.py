"""Which delivery an event becomes for a target of a rule. Pure.

Source: "Amazon EventBridge event bus targets", "Retry policy and using dead-letter queues" in the user guide, and recordings.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from services.router.events.routes import Aim
from shared.domain.destinations import API_DESTINATION, EVENT_BUS, KAFKA_TOPIC, QUEUE, kind_of
from shared.domain.event_buses import AGE_S_DEFAULT, RETRIES_DEFAULT, Rule
from shared.domain.input_transformers import NOTHING, Path, Told
from shared.events.bus_events import BusEvent, envelope_json, event_json, told_time
from shared.events.records import (
    ApiDestinationParameters,
    Behalf,
    BusParameters,
    DeadLetter,
    Delivery,
    KafkaParameters,
    Parameters,
    QueueParameters,
    RetryPolicy,
)


def told(event: BusEvent, document: dict[str, Any], rule: Rule) -> Told:
    return Told(
        event_json(event),
        document,
        {
            "rule-arn": lambda: rule.arn,
            "rule-name": lambda: rule.name,
            "event.ingestion-time": lambda: told_time(event.ingested_at_ms),
            "event": lambda: msgspec.Raw(envelope_json(event)),
            "event.json": lambda: msgspec.Raw(event_json(event)),
        },
    )


def delivery_of(event: BusEvent, document: dict[str, Any], aim: Aim, now_ms: int) -> Delivery:
    """With the same id whenever it is made of the same event for the same target."""
    target, settings = aim.target, aim.target.settings
    policy = settings.get("RetryPolicy") or {}
    letter = (settings.get("DeadLetterConfig") or {}).get("Arn")
    kind = kind_of(target.arn)
    payload = event.detail if kind == EVENT_BUS.name else aim.transform(told(event, document, aim.rule))
    return Delivery(
        delivery_id=":".join((event.event_id, event.replay or "", str(event.hops), aim.rule.arn, target.id)),
        behalf=Behalf.EVENTS,
        source_arn=aim.rule.arn,
        origin_id=event.event_id,
        target=target.arn,
        payload=payload,
        made_at_ms=now_ms,
        parameters=_parameters(event, document, kind, settings),
        retry=RetryPolicy(
            age_s_max=int(policy.get("MaximumEventAgeInSeconds") or AGE_S_DEFAULT),
            retries_max=int(policy.get("MaximumRetryAttempts", RETRIES_DEFAULT)),
        ),
        dead_letter=None if letter is None else DeadLetter(letter),
        trace=event.trace,
    )


def _parameters(event: BusEvent, document: dict[str, Any], kind: str, settings: dict[str, Any]) -> Parameters | None:
    if kind == QUEUE.name:
        group = (settings.get("SqsParameters") or {}).get("MessageGroupId")
        return None if group is None else QueueParameters(group)
    if kind == KAFKA_TOPIC.name:
        return KafkaParameters(key=event.event_id.encode())
    if kind == API_DESTINATION:
        return _of_request(document, settings.get("HttpParameters") or {})
    if kind == EVENT_BUS.name:
        return BusParameters(
            event.source,
            event.detail_type,
            event.resources,
            event.at_ms,
            event_id=event.event_id,
            account=event.account,
            region=event.region,
            hops=event.hops + 1,
        )
    return None


def _of_request(document: dict[str, Any], given: dict[str, Any]) -> ApiDestinationParameters:
    """given: HttpParameters of a target."""

    def told(text: str) -> str:
        return _filled(document, text)

    return ApiDestinationParameters(
        tuple(map(told, given.get("PathParameterValues") or ())),
        tuple((name, told(text)) for name, text in (given.get("HeaderParameters") or {}).items()),
        tuple((name, told(text)) for name, text in (given.get("QueryStringParameters") or {}).items()),
    )


def _filled(document: dict[str, Any], text: str) -> str:
    """A text, or what the event has at a path: what it has nothing at is empty."""
    if not text.startswith("$."):
        return text
    try:
        found = Path(text).find(document)
    except ValueError:
        return text
    if found is NOTHING:
        return ""
    return found if isinstance(found, str) else json.dumps(found, separators=(",", ":"), ensure_ascii=False)
