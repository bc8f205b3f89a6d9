"""A firing as records of Kafka: what is handed over, by the topic that it goes to."""

from __future__ import annotations

import logging

import msgspec
from prometheus_client import Counter

from services.scheduler.schedules.deliveries import deliveries_of
from shared.domain.errors import ApiError
from shared.domain.schedules import Schedule
from shared.domain.timers import Firing
from shared.events.bus_events import encode_bus_event, scheduled_event
from shared.events.records import encode
from shared.events.topics import TopicNames

log = logging.getLogger("lambdad.scheduler")

REFUSED = Counter("lambdad_schedule_firings_refused_total", "Firings of which nothing could be made: the log says why")


RULES = "events"
"""The service whose rules have timers, too."""


class Record(msgspec.Struct, frozen=True):
    topic: str
    value: bytes


def records_of(firing: Firing, schedule: Schedule | None, names: TopicNames, now_ms: int) -> list[Record]:
    """schedule: None of a scheduled rule. Never raises: one that is refused must not keep the others from firing."""
    try:
        if firing.service == RULES:
            event = scheduled_event(firing.owner, firing.firing_id, firing.due_ms, now_ms)
            return [Record(names.events, encode_bus_event(event))]
        if schedule is None:
            raise LookupError("there is no such schedule")
        return [Record(names.deliveries, encode(delivery)) for delivery in deliveries_of(schedule, firing, now_ms)]
    except (ApiError, LookupError) as error:
        REFUSED.inc()
        log.error("%s cannot be fired: %s", firing.firing_id, error)
        return []
