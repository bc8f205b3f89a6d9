"""What a firing hands to whom: of a schedule deliveries, of a scheduled rule the event that its bus's router takes on. Pure."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.domain.arns import Home, function_arn, home_of, parse_function_reference
from shared.domain.schedule_targets import Kind, kind_of, universal_input
from shared.domain.schedules import Schedule
from shared.domain.timers import Firing
from shared.events.records import (
    Behalf,
    BusParameters,
    DeadLetter,
    Delivery,
    MessageAttribute,
    Parameters,
    QueueParameters,
    RetryPolicy,
    TopicParameters,
)

DETAIL_TYPE = "Scheduled Event"


class Handed(msgspec.Struct, frozen=True):
    """A payload to a target, in so many seconds."""

    target: str
    payload: bytes
    parameters: Parameters | None = None
    attributes: dict[str, MessageAttribute] = {}
    delay_s: int = 0


def deliveries_of(schedule: Schedule, firing: Firing, now_ms: int) -> list[Delivery]:
    """One, but of a PutEvents one for each of its entries. Raises ValidationException, for a target of an earlier version."""
    letter = schedule.target.get("DeadLetterConfig", {}).get("Arn")
    execution = _execution_id(firing)
    return [
        Delivery(
            delivery_id=firing.firing_id if at == 0 else f"{firing.firing_id}#{at}",
            behalf=Behalf.SCHEDULER,
            source_arn=schedule.arn,
            origin_id=execution,
            target=handed.target,
            payload=handed.payload,
            made_at_ms=now_ms,
            attributes=handed.attributes,
            parameters=handed.parameters,
            retry=RetryPolicy(age_s_max=schedule.age_s_max, retries_max=schedule.retries_max),
            dead_letter=None if letter is None else DeadLetter(letter, attributes=_told(firing, execution)),
            due_ms=now_ms + handed.delay_s * 1_000 if handed.delay_s else 0,
        )
        for at, handed in enumerate(_handed(schedule, firing, execution))
    ]


def _handed(schedule: Schedule, firing: Firing, execution: str) -> list[Handed]:
    target = schedule.target
    arn, kind = target["Arn"], kind_of(target["Arn"])
    sent: str = target["Input"] if "Input" in target else _notification(schedule, firing)
    text = _with_context(sent, schedule, firing, execution)
    match kind:
        case Kind.FUNCTION:
            return [Handed(arn, text.encode())]
        case Kind.QUEUE:
            return [Handed(arn, text.encode(), QueueParameters(target.get("SqsParameters", {}).get("MessageGroupId")))]
        case Kind.TOPIC:
            return [Handed(arn, text.encode(), TopicParameters())]
        case Kind.BUS:
            named = target["EventBridgeParameters"]
            parameters = BusParameters(named["Source"], named["DetailType"], (schedule.arn,), firing.due_ms)
            return [Handed(arn, text.encode(), parameters)]
        case Kind.ELSEWHERE | Kind.CALL_ELSEWHERE:
            return [Handed(arn, text.encode())]
    return _called(kind, universal_input(kind, text), schedule.home, firing)


def _called(kind: Kind, request: Mapping[str, Any], home: Home, firing: Firing) -> list[Handed]:
    """A universal target's request as deliveries."""
    attributes = {name: _attribute(value) for name, value in request.get("MessageAttributes", {}).items()}
    group, deduplication = request.get("MessageGroupId"), request.get("MessageDeduplicationId")
    if kind is Kind.INVOKE:
        function = parse_function_reference(request["FunctionName"])
        arn = function_arn(
            Home(function.account or home.account_id, function.region or home.region),
            function.name,
            request.get("Qualifier") or function.qualifier,
        )
        payload = request.get("Payload", {})
        return [Handed(arn, payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload))]
    if kind is Kind.SEND_MESSAGE:
        queue, delay_s = _queue_arn(request["QueueUrl"], home), int(request.get("DelaySeconds", 0))
        return [Handed(queue, request["MessageBody"].encode(), QueueParameters(group, deduplication), attributes, delay_s)]
    if kind is Kind.PUBLISH:
        parameters = TopicParameters(request.get("Subject"), group, deduplication)
        return [Handed(request["TopicArn"], request["Message"].encode(), parameters, attributes)]
    return [
        Handed(
            _bus_arn(entry.get("EventBusName") or "default", home),
            entry["Detail"].encode(),
            BusParameters(entry["Source"], entry["DetailType"], tuple(entry.get("Resources", ())), firing.due_ms),
        )
        for entry in request["Entries"]
    ]


def _attribute(value: Mapping[str, str]) -> MessageAttribute:
    """Bytes are base64, as in what the SDKs send."""
    if "StringValue" in value:
        return MessageAttribute(value["DataType"], value["StringValue"])
    return MessageAttribute(value["DataType"], binary=base64.b64decode(value["BinaryValue"]))


def _told(firing: Firing, execution: str) -> dict[str, MessageAttribute]:
    """What a dead letter says of the firing, beside why it is one.

    Source: "Configuring a dead-letter queue" in the EventBridge Scheduler user guide."""
    told = {
        "EXECUTION_ID": execution,
        "IS_PAYLOAD_TRUNCATED": "false",
        "SCHEDULED_TIME": shown_time(firing.due_ms),
    }
    return {name: MessageAttribute("String", value) for name, value in told.items()}


def _with_context(text: str, schedule: Schedule, firing: Firing, execution: str) -> str:
    """With the context attributes that are the same for every try; `attempt-number` is filled in at each."""
    known = {
        "<aws.scheduler.schedule-arn>": schedule.arn,
        "<aws.scheduler.scheduled-time>": shown_time(firing.due_ms),
        "<aws.scheduler.execution-id>": execution,
    }
    for name, value in known.items():
        text = text.replace(name, value)
    return text


def _notification(schedule: Schedule, firing: Firing) -> str:
    """What a target gets where no Input was set."""
    return msgspec.json.encode(
        {
            "version": "0",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, firing.firing_id)),
            "detail-type": DETAIL_TYPE,
            "source": "aws.scheduler",
            "account": schedule.home.account_id,
            "time": shown_time(firing.due_ms),
            "region": schedule.home.region,
            "resources": [schedule.arn],
            "detail": "{}",
        }
    ).decode()


def shown_time(at_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms // 1000))


def home_and_names(arn: str) -> tuple[Home, str, str]:
    """Of a schedule's ARN: where it is, its group, its name."""
    group, name = arn.split(":", 5)[5].split("/")[1:]
    return home_of(arn), group, name


def _execution_id(firing: Firing) -> str:
    return hashlib.sha256(firing.firing_id.encode()).hexdigest()[:16]


def _queue_arn(url: str, home: Home) -> str:
    """Of an address that ends in account and name."""
    account, name = ["", *url.rstrip("/").split("/")][-2:]
    return f"arn:aws:sqs:{home.region}:{account or home.account_id}:{name}"


def _bus_arn(name: str, home: Home) -> str:
    return name if name.startswith("arn:") else f"arn:aws:events:{home.region}:{home.account_id}:event-bus/{name}"
