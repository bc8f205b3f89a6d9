"""What EventBridge was seen to deliver: events put over HTTP, routed by a router on real engines, looked at where they arrive."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.domain.arns import Home
from shared.domain.event_buses import rule_arn
from shared.events.bus_events import scheduled_event
from tests.conformance.bus_world import FUNCTION, QUEUE, BusWorld, Json
from tests.conformance.control_plane import ControlPlane
from tests.conformance.facts import load
from tests.conformance.services.eventbridge.given import DETAIL, PATTERN
from tests.conformance.services.service import ACCOUNT, OTHER_REGION, REGION, unique
from tests.conftest import Engines, settings_for
from tests.integration.http_listener import Listener
from tests.support import wait_until

SOURCE = "core.update-account-command"
FACTS = {fact.id: fact.raw for fact in load("eventbridge")}
MANY_KINDS = {**DETAIL, "listsingle": ["HIGH"], "listmulti": ["ACTIVE", "INACTIVE"], "valid": True}
MAP = {
    "userId": "$.detail.payload.acc_id",
    "payload": "$.detail.payload",
    "systemstring": "$.detail.awsAccountId",
    "listsingle": "$.detail.listsingle",
    "listmulti": "$.detail.listmulti",
    "valid": "$.detail.valid",
}
ENVELOPE = ("version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail")
Make = Callable[..., BusWorld]


@pytest.fixture
def world(control_plane: ControlPlane, engines: Engines, tmp_path: Path) -> Make:
    """A bus, in which region and of which name is wanted."""
    return lambda *where: BusWorld(control_plane, settings_for(engines, tmp_path), *where)


def entry(detail: Json | None = None, **more: Any) -> Json:
    return {"Source": SOURCE, "DetailType": SOURCE, "Detail": json.dumps(DETAIL if detail is None else detail), **more}


def queue() -> tuple[str, Json]:
    name = unique("q")
    return name, {"Arn": QUEUE + name}


def envelope(event: Json, detail: Any = DETAIL, **more: Any) -> None:
    """That it is the whole event, its members in AWS's order."""
    expected = {
        "version": "0",
        "id": event["id"],
        "detail-type": SOURCE,
        "source": SOURCE,
        "account": ACCOUNT,
        "time": event["time"],
        "region": REGION,
        "resources": [],
        "detail": detail,
        **more,
    }
    assert event == expected
    assert [name for name in event if name != "replay-name"] == list(ENVELOPE)


def events_in(bus: BusWorld, name: str) -> list[Json]:
    return sorted((json.loads(body) for body in bus.bodies(name)), key=lambda event: json.dumps(event))


@pytest.mark.covers("eventbridge", "put-events.with-time", "delivery.queue")
def test_a_queue_gets_the_event_itself(world: Make) -> None:
    bus, (name, target) = world(), queue()
    bus.rule(target)
    [id] = bus.put(entry(Time=1657720081.75))
    [body] = bus.bodies(name)
    event = json.loads(body)
    assert (event["id"], event["time"]) == (id, "2022-07-13T13:48:01Z")
    envelope(event)


@pytest.mark.covers(
    "eventbridge",
    "delivery.anything-but-and-null",
    "delivery.exists-false",
    "delivery.values-in-array",
    "delivery.detail-value-list",
)
@pytest.mark.parametrize(
    ("id", "matching"),
    [
        ("delivery.anything-but-and-null", (0, 1)),
        ("delivery.exists-false", (1,)),
        ("delivery.values-in-array", (0, 1)),
        ("delivery.detail-value-list", (0,)),
    ],
)
def test_events_are_delivered_by_their_pattern(world: Make, id: str, matching: tuple[int, ...]) -> None:
    fact = FACTS[id]
    details = fact["given"]["details"]
    bus, (name, target) = world(), queue()
    bus.rule({**target, "InputPath": "$.detail"}, pattern=fact["config"]["event_pattern"])
    bus.put(*(entry(detail) for detail in details))
    expected = sorted((details[place] for place in matching), key=json.dumps)
    assert events_in(bus, name) == expected


@pytest.mark.covers("eventbridge", "delivery.many-conditions")
def test_many_conditions_hold_together(world: Make) -> None:
    fact = FACTS["delivery.many-conditions"]
    detail = fact["given"]["Detail"]["$json"]
    bus, (name, target) = world(), queue()
    bus.rule({**target, "InputPath": "$.detail"}, pattern=fact["config"]["event_pattern"])
    bus.put(entry(detail, DetailType="core.app.backend"), entry({**detail, "num-test6": 500}, DetailType="core.app.backend"))
    assert events_in(bus, name) == [detail]


@pytest.mark.covers("eventbridge", "delivery.list-of-objects", "delivery.list-of-objects-partly-matching")
@pytest.mark.parametrize("id", ["delivery.list-of-objects", "delivery.list-of-objects-partly-matching"])
def test_a_pattern_walks_into_a_list_of_objects(world: Make, id: str) -> None:
    fact, bus = FACTS[id], world()
    name = bus.function()
    bus.rule({"Arn": FUNCTION + name}, pattern=fact["config"]["event_pattern"])
    bus.put(entry(fact["given"]["detail"]), entry({"payload": {"automations": [{"foo": "bar"}]}}))
    [event] = bus.invocations(name, 1)
    envelope(event, fact["given"]["detail"])


@pytest.mark.covers("eventbridge", "delivery.two-rules-one-function", "delivery.three-rules-by-source")
@pytest.mark.covers("events", "event-eventbridge-rule")
def test_each_rule_invokes_its_function(world: Make) -> None:
    bus = world()
    name, other = bus.function(), bus.function()
    for _ in range(2):
        bus.rule({"Arn": FUNCTION + name}, pattern={"source": [SOURCE], "detail-type": [SOURCE]})
    for source in ("source-one", "source-two", "source-three"):
        bus.rule({"Arn": FUNCTION + other}, pattern={"source": [source]})
    bus.put(entry(), *(entry(Source=source) for source in ("source-one", "source-two", "source-three")))
    one, two = bus.invocations(name, 2)
    envelope(one)
    assert one == two
    assert sorted(event["source"] for event in bus.invocations(other, 3)) == ["source-one", "source-three", "source-two"]


@pytest.mark.covers("eventbridge", "delivery.two-rules-with-transformers")
def test_each_rule_has_its_own_transformer(world: Make) -> None:
    bus = world()
    name = bus.function()
    for rule in FACTS["delivery.two-rules-with-transformers"]["config"]["rules"]:
        bus.rule({"Arn": FUNCTION + name, "InputTransformer": rule["InputTransformer"]}, pattern=rule["event_pattern"])
    bus.put(entry({"payload": {"id": "123"}}), entry({"id": "123"}))
    events = sorted(bus.invocations(name, 2), key=json.dumps)
    assert events == [{"detail-payload-with-id": {"payload": {"id": "123"}}}, {"detail-with-id": {"id": "123"}}]


@pytest.mark.covers("eventbridge", "delivery.topic")
def test_a_topic_gets_the_compact_text(world: Make) -> None:
    bus, (name, target) = world(), queue()
    topic = bus.topic(target["Arn"])
    bus.rule({"Arn": topic})
    bus.put(entry())
    [body] = wait_until(lambda: bus.bodies(name), what="the topic's subscriber has the message")
    notification = json.loads(body)
    [recorded] = FACTS["delivery.topic"]["then"]["sqs_message_bodies"]
    assert list(notification) == list(recorded["$json"])
    assert (notification["Type"], notification["TopicArn"]) == ("Notification", topic)
    event = json.loads(notification["Message"])
    envelope(event)
    assert notification["Message"] == json.dumps(event, separators=(",", ":"))


@pytest.mark.covers("eventbridge", "delivery.bus-to-bus", "delivery.bus-default-to-custom", "delivery.bus-custom-to-default")
@pytest.mark.parametrize(("first", "second"), [(None, None), ("default", None), (None, "default")])
def test_a_bus_passes_events_on_to_another(world: Make, first: str | None, second: str | None) -> None:
    source = unique("source")
    one, two, (name, target) = world(REGION, first), world(REGION, second), queue()
    one.rule({"Arn": two.arn, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r"}, pattern={"source": [source]})
    rule = two.rule(target, pattern={"source": [source]})
    [id] = one.put(entry(Source=source), passes=2)
    [event] = events_in(two, name)
    assert event["id"] == id
    envelope(event, source=source)
    two.call("RemoveTargets", Rule=rule, EventBusName=two.bus, Ids=["t0"])


@pytest.mark.covers("eventbridge", "delivery.bus-to-bus-other-region")
def test_an_event_that_crosses_regions_gets_another_id_and_keeps_its_region(world: Make) -> None:
    here, there = world(), world(OTHER_REGION)
    (first, at_first), (second, at_second) = queue(), queue()
    here.rule(at_first, {"Arn": there.arn}, pattern={"source": ["source-primary"]})
    there.rule(at_second, pattern={"source": ["source-primary", "source-secondary"]})
    here.put(entry(Source="source-primary"), passes=2)
    there.put(entry(Source="source-secondary"))
    [sent] = events_in(here, first)
    arrived = {event["source"]: event for event in events_in(there, second)}
    assert {source: event["region"] for source, event in arrived.items()} == {
        "source-primary": REGION,
        "source-secondary": OTHER_REGION,
    }
    assert arrived["source-primary"]["id"] != sent["id"]


def test_an_api_destination_gets_the_event_as_a_request_and_its_refusal_becomes_a_dead_letter(world: Make) -> None:
    bus, name, (letters, letter) = world(), unique("d"), queue()
    key = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "secret"}}
    connection = bus.call("CreateConnection", Name=name, AuthorizationType="API_KEY", AuthParameters=key)["ConnectionArn"]
    with Listener().listening() as listener:
        made = {"ConnectionArn": connection, "HttpMethod": "POST", "InvocationEndpoint": f"{listener.address}/orders/*"}
        arn = bus.call("CreateApiDestination", Name=name, **made)["ApiDestinationArn"]
        http = {"PathParameterValues": ["$.detail.payload.sf_id"], "QueryStringParameters": {"of": "$.source"}}
        target = {"Arn": arn, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/r", "HttpParameters": http, "InputPath": "$.detail"}
        rule = bus.rule({**target, "DeadLetterConfig": {"Arn": letter["Arn"]}})
        listener.answers = [(200, {}, b""), (404, {}, b"")]
        bus.put(entry())
        request = listener.next()
        bus.put(entry())
    assert (request.method, request.path) == ("POST", f"/orders/baz?of={SOURCE}")
    assert (request.json, request.headers["x-key"]) == (DETAIL, "secret")
    [told] = bus.attributes(letters)
    assert told["TARGET_ARN"]["StringValue"] == arn
    assert told["RULE_ARN"]["StringValue"] == rule_arn(Home(ACCOUNT, REGION), bus.bus, rule)


def test_buses_that_pass_events_in_a_circle_come_to_an_end(world: Make) -> None:
    one, two, (letters, letter) = world(), world(), queue()
    (name, target) = queue()
    one.rule(target, {"Arn": two.arn}, pattern={"source": [SOURCE]})
    two.rule({"Arn": one.arn, "DeadLetterConfig": {"Arn": letter["Arn"]}}, pattern={"source": [SOURCE]})
    one.put(entry(), passes=6)
    assert len(one.bodies(name)) == 3
    [told] = one.attributes(letters)
    assert told["TARGET_ARN"]["StringValue"] == one.arn


def test_what_no_target_takes_becomes_a_dead_letter_that_says_why(world: Make) -> None:
    bus, (letters, letter) = world(), queue()
    missing = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{unique('none')}"
    name = bus.rule({"Arn": missing, "DeadLetterConfig": {"Arn": letter["Arn"]}})
    bus.put(entry())
    [told] = bus.attributes(letters)
    assert {key: value["StringValue"] for key, value in told.items() if key != "ERROR_MESSAGE"} == {
        "RULE_ARN": rule_arn(Home(ACCOUNT, REGION), bus.bus, name),
        "TARGET_ARN": missing,
        "ERROR_CODE": "RESOURCE_NOT_FOUND",
        "RETRY_ATTEMPTS": "0",
    }


@pytest.mark.covers(
    "eventbridge",
    "input-path.detail",
    "input-path.string-leaf",
    "input-path.key-repeated-at-depth",
    "input-path.per-target",
)
def test_a_target_may_get_a_part_of_the_event(world: Make) -> None:
    bus, names = world(), [queue() for _ in range(4)]
    paths = ["$.detail", "$.detail.payload.sf_id", "$.detail.payload", None]
    bus.rule(*({**target, **({"InputPath": path} if path else {})} for (_, target), path in zip(names, paths, strict=True)))
    detail = {**DETAIL, "payload": {"sf_id": "baz", "payload": {"message": "baz", "id": "123"}}}
    bus.put(entry(detail))
    part, leaf, repeated, whole = (bus.bodies(name)[0] for name, _ in names)
    assert json.loads(part) == detail
    assert leaf == '"baz"'
    assert json.loads(repeated) == detail["payload"]
    envelope(json.loads(whole), detail)


TRANSFORMED = [id for id in FACTS if id.startswith("input-transformer.")]


@pytest.mark.covers(
    "eventbridge",
    "input-transformer.text",
    "input-transformer.text-path-missing",
    "input-transformer.text-starts-with-braces",
    "input-transformer.object",
    "input-transformer.object-path-missing",
    "input-transformer.text-list-of-two",
    "input-transformer.text-all-kinds",
    "input-transformer.text-boolean",
    "input-transformer.text-object-and-repeat",
    "input-transformer.object-quoted-placeholder",
    "input-transformer.object-nested",
    "input-transformer.object-with-object",
    "input-transformer.object-with-list-element",
    "input-transformer.object-repeat",
    "input-transformer.object-with-list",
    "input-transformer.predefined-text",
)
@pytest.mark.parametrize("id", TRANSFORMED)
def test_a_template_is_filled_as_recorded(world: Make, id: str) -> None:
    fact = FACTS[id]
    std = fact.get("given") == "std entry"
    transformer = {"InputPathsMap": MAP, **fact["config"]} if not std else fact["config"]
    bus, (name, target) = world(), queue()
    rule = bus.rule({**target, "InputTransformer": transformer})
    bus.put(entry(DETAIL if std else MANY_KINDS, Time=1657720081))
    [body] = bus.bodies(name)
    [expected] = fact["then"]["sqs_message_bodies"]
    known = {
        "<date-s>": "2022-07-13T13:48:01Z",
        "<custom-rule-arn>": rule_arn(Home(ACCOUNT, REGION), bus.bus, rule),
        "<rule>": rule,
    }
    if isinstance(expected, dict):
        filled = {key: known.get(value, value) if isinstance(value, str) else value for key, value in expected["$json"].items()}
        assert json.loads(body) == filled
        return
    for placeholder, value in known.items():
        expected = expected.replace(placeholder, value)
    begin, _, end = expected.partition("<date>")
    assert body.startswith(begin)
    assert body.endswith(end)
    assert "<date>" in expected or body == expected


@pytest.mark.covers("eventbridge", "schedule.event-to-queue", "schedule.cron-event-to-queue", "schedule.constant-input")
@pytest.mark.covers("events", "event-scheduled")
def test_a_scheduled_rule_gives_its_targets_an_event(world: Make) -> None:
    """What the scheduler puts when the rule is due (its own tests show when) goes to this rule's targets alone."""
    bus, (name, target), (constant, with_input), (other, of_other) = world(REGION, "default"), queue(), queue(), queue()
    bus.rule(of_other, ScheduleExpression="rate(7 days)")
    rule = bus.rule(target, {**with_input, "Input": '{"custom-value": "somecustominput"}'}, ScheduleExpression="rate(7 days)")
    arn, now_ms = rule_arn(Home(ACCOUNT, REGION), "default", rule), time.time_ns() // 1_000_000
    for minute in range(2):
        bus.put_again(scheduled_event(arn, f"{arn}/{minute}", 1_657_720_080_000 + minute * 60_000, now_ms))
    first, second = sorted(events_in(bus, name), key=lambda event: event["time"])
    assert (first["time"], second["time"]) == ("2022-07-13T13:48:00Z", "2022-07-13T13:49:00Z")
    assert first["id"] != second["id"]
    envelope(first, {}, **{"detail-type": "Scheduled Event", "source": "aws.events", "resources": [arn]})
    assert [json.loads(body) for body in bus.bodies(constant)] == [{"custom-value": "somecustominput"}] * 2
    assert bus.bodies(other) == []


@pytest.mark.covers("eventbridge", "start-replay.delivery")
def test_what_is_archived_is_replayed_with_the_name_of_the_replay(world: Make) -> None:
    bus, (name, target), (other, of_other) = world(), queue(), queue()
    archive, replay = unique("archive"), unique("replay")
    rule, _ = bus.rule(target), bus.rule(of_other)
    made = bus.call("CreateArchive", ArchiveName=archive, EventSourceArn=bus.arn, EventPattern=json.dumps(PATTERN))
    ids = bus.put(*(entry() for _ in range(3)), entry({"command": "another"}))[:3]
    to = {"Arn": bus.arn, "FilterArns": [rule_arn(Home(ACCOUNT, REGION), bus.bus, rule)]}
    until = {"EventStartTime": time.time() - 60, "EventEndTime": time.time() + 60}
    source = {"EventSourceArn": made["ArchiveArn"], "Destination": to}
    before = len(bus.bodies(other))
    bus.call("StartReplay", ReplayName=replay, **source, **until)
    wait_until(lambda: len(bus.bodies(name)) == 6, what="the events are replayed")
    events = [json.loads(body) for body in bus.bodies(name)]
    again = [event for event in events if "replay-name" in event]
    assert sorted(event["id"] for event in again) == sorted(ids)
    for event in again:
        envelope(event, **{"replay-name": replay})
        assert list(event).index("replay-name") == list(event).index("region") + 1
    assert len(bus.bodies(other)) == before == 3
