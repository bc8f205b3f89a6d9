"""Which deliveries an outcome asks for: the record to each destination, the event itself to the dead-letter target. Pure.

Source: "Capturing records of Lambda asynchronous invocations" and "Dead-letter queues" in the Lambda developer guide,
recordings of both, and recordings of streams for the keys of objects.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from services.router.outcomes import record
from shared.domain.arns import parse_function_reference
from shared.domain.destinations import BUCKET, EVENT_BUS, KAFKA_TOPIC, TOPIC, kind_of
from shared.domain.topics import MESSAGE_BYTES_MAX
from shared.events.records import (
    Behalf,
    BucketParameters,
    BusParameters,
    Condition,
    Delivery,
    KafkaParameters,
    Outcome,
    Parameters,
    Role,
)

BUS_SOURCE = "lambda"


def deliveries_of(outcome: Outcome) -> list[Delivery]:
    """With the same ids whenever it is called for the same outcome."""
    made = [delivery for target in outcome.targets for delivery in _records(outcome, target)]
    if outcome.dead_letter_arn is not None:
        made.append(_delivery(outcome, outcome.dead_letter_arn, outcome.request_payload, Role.DEAD_LETTER))
    return made


def _records(outcome: Outcome, target: str) -> Iterator[Delivery]:
    kind = kind_of(target)
    if outcome.batch is not None:
        yield from _batch_records(outcome, target, kind)
        return
    parameters: Parameters | None = None
    if kind == BUCKET.name:
        parameters = BucketParameters(key_of(outcome, target))
    elif kind == EVENT_BUS.name:
        parameters = bus_parameters(outcome, target)
    elif kind == KAFKA_TOPIC.name:
        parameters = KafkaParameters(key=outcome.event_id.encode())
    told = record.invocation_record(outcome)
    if kind == TOPIC.name and len(told) > MESSAGE_BYTES_MAX and outcome.condition is not Condition.SUCCESS:
        told = record.invocation_record(outcome, with_payloads=False)
    yield _delivery(outcome, target, told, Role.DESTINATION, parameters)


def _batch_records(outcome: Outcome, target: str, kind: str) -> Iterator[Delivery]:
    assert outcome.batch is not None
    if kind == KAFKA_TOPIC.name and outcome.request_payload:
        for number, (key, value) in enumerate(record.topic_messages(outcome)):
            parameters = KafkaParameters(outcome.batch.bootstrap_servers, key)
            yield _delivery(outcome, target, value, Role.DESTINATION, parameters, f":{number}")
    elif kind == KAFKA_TOPIC.name:
        # Its records were too large to travel: what tells of them names where they are.
        parameters = KafkaParameters(outcome.batch.bootstrap_servers)
        yield _delivery(outcome, target, record.batch_record(outcome), Role.DESTINATION, parameters)
    elif kind == BUCKET.name:
        body = record.batch_record(outcome, with_payload=True)
        yield _delivery(outcome, target, body, Role.DESTINATION, BucketParameters(key_of(outcome, target)))
    else:
        yield _delivery(outcome, target, record.batch_record(outcome), Role.DESTINATION)


def bus_parameters(outcome: Outcome, bus_arn: str) -> BusParameters:
    result = "Success" if outcome.condition is Condition.SUCCESS else "Failure"
    detail_type = f"Lambda Function Invocation Result - {result}"
    return BusParameters(BUS_SOURCE, detail_type, (bus_arn, outcome.function_arn), outcome.finished_at_ms)


def key_of(outcome: Outcome, target: str) -> str:
    """The key of the object that an outcome becomes."""
    at = datetime.fromtimestamp(outcome.finished_at_ms / 1_000, UTC)
    if outcome.batch is not None:
        place = f"{outcome.batch.mapping_uuid}/{next(iter(outcome.batch.partitions))}"
    else:
        place = f"async/{parse_function_reference(outcome.function_arn).name}"
    unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{outcome.event_id}/{outcome.condition.value}/{target}")
    return f"aws/lambda/{place}/{at:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{unique}"


def _delivery(
    outcome: Outcome, target: str, payload: bytes, role: Role, parameters: Parameters | None = None, part: str = ""
) -> Delivery:
    return Delivery(
        delivery_id=f"{outcome.event_id}:{outcome.condition.value}:{role.value}:{target}{part}",
        behalf=Behalf.LAMBDA,
        source_arn=outcome.function_arn,
        origin_id=outcome.event_id,
        target=target,
        payload=payload,
        made_at_ms=outcome.finished_at_ms,
        role=role,
        attributes=record.dead_letter_attributes(outcome) if role is Role.DEAD_LETTER else {},
        parameters=parameters,
        trace=outcome.trace,
    )
