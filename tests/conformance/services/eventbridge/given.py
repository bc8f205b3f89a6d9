"""The calls that make what each entry gives, by the entry. Placeholders are filled when they are made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.conformance.steps import Step

PATTERN = {
    "source": ["core.update-account-command"],
    "detail-type": ["core.update-account-command"],
    "detail": {"command": ["update-account"]},
}
DETAIL = {"command": "update-account", "payload": {"acc_id": "0a787ecb-4015", "sf_id": "baz"}}
ENTRY = {
    "Source": "core.update-account-command",
    "DetailType": "core.update-account-command",
    "Detail": json.dumps(DETAIL),
    "EventBusName": "<bus>",
}
TAGS = [{"Key": "tag1", "Value": "value1"}, {"Key": "tag2", "Value": "value2"}]
KEY_AUTH = {"ApiKeyAuthParameters": {"ApiKeyName": "ApiKey", "ApiKeyValue": "secret"}}
BASIC_AUTH = {"BasicAuthParameters": {"Username": "user", "Password": "pass"}}
OAUTH = {
    "OAuthParameters": {
        "AuthorizationEndpoint": "https://example.com/oauth",
        "ClientParameters": {"ClientID": "client_id", "ClientSecret": "client_secret"},
        "HttpMethod": "POST",
    }
}
DESTINATION = {
    "Name": "<destination>",
    "ConnectionArn": "<connection-arn>",
    "HttpMethod": "POST",
    "InvocationEndpoint": "https://example.com/api",
    "Description": "Test API destination",
}
Steps = Sequence[Step]


def bus(**more: Any) -> Step:
    return Step("CreateEventBus", {"Name": "<bus>", **more})


def no_bus() -> Step:
    return Step("DeleteEventBus", {"Name": "<bus>"})


def rule(name: str = "<rule>", bus: str = "default", **more: Any) -> Step:
    given = more or {"EventPattern": {"$json": PATTERN}}
    return Step("PutRule", {"Name": name, "EventBusName": bus, **given})


def targets(*ids: str, rule: str = "<rule>", bus: str = "default", arn: str = "<queue-arn>", **more: Any) -> Step:
    """Of one rule; the quota is five of them."""
    listed = [{"Id": id, "Arn": arn, **more} for id in ids or ("<target>",)]
    return Step("PutTargets", {"Rule": rule, "EventBusName": bus, "Targets": listed})


def permission(sid: str, principal: str = "<account>") -> Step:
    return Step(
        "PutPermission",
        {"EventBusName": "<bus>", "Action": "events:PutEvents", "Principal": principal, "StatementId": sid},
    )


def whole_policy() -> Step:
    statement = {
        "Sid": "<sid:5>",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "events:ListRules",
        "Resource": "*",
    }
    policy = {"$json": {"Version": "2012-10-17", "Statement": [statement]}}
    return Step("PutPermission", {"EventBusName": "<bus>", "Policy": policy})


def archive(**more: Any) -> Step:
    request = {
        "ArchiveName": "<archive>",
        "EventSourceArn": "<bus-arn>",
        "Description": "description of the archive",
        "RetentionDays": 1,
        "EventPattern": {"$json": PATTERN},
        **more,
    }
    return Step("CreateArchive", {name: value for name, value in request.items() if value is not None})


def archived(count: int) -> Steps:
    """So many std events on the archive's bus, in the archive."""
    puts = [Step("PutEvents", {"Entries": [ENTRY]}) for _ in range(count)]
    seen = Step("DescribeArchive", {"ArchiveName": "<archive>"}, until=lambda found: found["EventCount"] == count)
    return [*puts, seen]


def replay(name: str = "<replay>", *, filtered: bool = False) -> Step:
    destination: dict[str, Any] = {"Arn": "<bus-arn>"}
    more = {}
    if filtered:
        destination["FilterArns"] = ["<rule-arn>"]
        more = {"Description": "description of the replay"}
    return Step(
        "StartReplay",
        {
            "ReplayName": name,
            "EventSourceArn": "<archive-arn>",
            "EventStartTime": "<begin>",
            "EventEndTime": "<end>",
            "Destination": destination,
            **more,
        },
    )


def completed(name: str = "<replay>") -> Step:
    return Step("DescribeReplay", {"ReplayName": name}, until=lambda found: found["State"] == "COMPLETED")


def connection(kind: str = "BASIC", auth: Mapping[str, Any] = BASIC_AUTH) -> Step:
    request = {"Name": "<connection>", "AuthorizationType": kind, "AuthParameters": dict(auth)}
    return Step("CreateConnection", request, {"ConnectionArn": "connection-arn"})


def destination() -> Step:
    return Step("CreateApiDestination", DESTINATION, {"ApiDestinationArn": "destination-arn"})


def tagged() -> Step:
    return Step("TagResource", {"ResourceARN": "<arn>", "Tags": TAGS})


_MANY_REPLAYS: Steps = [
    archive(),
    *(replay(f"<p>-test-replay-{number}") for number in range(6)),
    *(completed(f"<p>-test-replay-{number}") for number in range(6)),
]
_FIVE_RULES: Steps = [
    bus(),
    *(step for n in range(5) for step in (rule(f"<p>{n}", "<bus>"), targets(rule=f"<p>{n}", bus="<bus>"))),
]
_BY_TARGET = {"TargetArn": "<queue-arn>", "EventBusName": "<bus>", "Limit": 2}
_PAGE = {"NextToken": "token"}
_STATEMENTS: Steps = [bus(), permission("<sid:1>"), permission("<sid:2>"), permission("<sid:3>", "<account:2>")]
_FIVE_TARGETS: Steps = [rule(), targets(*(f"<p>{n}" for n in range(5)))]
_FULL: Steps = [rule(), archive(), *archived(3), replay(filtered=True), completed()]

GIVEN: Mapping[str, Steps | Callable[[], Steps]] = {
    "create-event-bus.exists": [bus()],
    "create-event-bus.same-name-other-regions": [Step("CreateEventBus", {"Name": "<bus>"}, region="ap-southeast-1")],
    "describe-event-bus.custom": [bus()],
    "describe-event-bus.description": [bus(Description="test bus")],
    "list-event-buses.after-create": [bus()],
    "list-event-buses.description": [bus(Description="test bus")],
    "list-event-buses.prefix": [bus(), Step("CreateEventBus", {"Name": "no-prefix-match-<p>"})],
    "list-event-buses.after-delete": [bus(), no_bus()],
    "delete-event-bus.custom": [bus()],
    "put-permission.account": [bus()],
    "describe-event-bus.policy-after-put-permission": _STATEMENTS,
    "describe-event-bus.policy-star-principal": [*_STATEMENTS, permission("<sid:4>", "*"), permission("<sid:4>", "*")],
    "put-permission.policy-document": [*_STATEMENTS, permission("<sid:4>", "*")],
    "describe-event-bus.policy-document": [*_STATEMENTS, permission("<sid:4>", "*"), whole_policy()],
    "remove-permission.statement": [bus(), permission("<sid:1>"), permission("<sid:2>", "<account:2>")],
    "remove-permission.all": [bus(), permission("<sid:1>")],
    "remove-permission.sid-missing": [bus(), permission("<sid:1>")],
    "put-rule.custom-bus": [bus()],
    "put-rule.again": [bus(), rule(bus="<bus>")],
    "put-rule.again-keeps-targets": [rule(), targets()],
    "list-rules.default-bus": [rule()],
    "list-rules.custom-bus": [bus(), rule(bus="<bus>")],
    "list-rules.after-delete": [rule(), Step("DeleteRule", {"Name": "<rule>"})],
    "describe-rule.default-bus": [rule()],
    "disable-rule.enabled": [rule()],
    "describe-rule.disabled": [rule(), Step("DisableRule", {"Name": "<rule>"})],
    "enable-rule.disabled": [rule(), Step("DisableRule", {"Name": "<rule>"})],
    "delete-rule.plain": [rule()],
    "delete-rule.with-targets": [rule(), targets()],
    "list-rule-names-by-target.three-rules": [
        bus(),
        *(step for n in range(3) for step in (rule(f"<p>{n}", "<bus>"), targets(rule=f"<p>{n}", bus="<bus>"))),
        rule("<p>other", "<bus>"),
    ],
    "list-rule-names-by-target.page-1": _FIVE_RULES,
    "list-rule-names-by-target.page-2": [*_FIVE_RULES, Step("ListRuleNamesByTarget", _BY_TARGET, _PAGE)],
    "list-rule-names-by-target.page-3": [
        *_FIVE_RULES,
        Step("ListRuleNamesByTarget", _BY_TARGET, _PAGE),
        Step("ListRuleNamesByTarget", {**_BY_TARGET, "NextToken": "<token>"}, {"NextToken": "token:2"}),
    ],
    "list-rule-names-by-target.none": [rule(), targets(arn="<queue-arn>-other")],
    "put-targets.queue": [bus(), rule(bus="<bus>")],
    "list-targets-by-rule.one": [bus(), rule(bus="<bus>"), targets(bus="<bus>")],
    "list-targets-by-rule.empty": [
        bus(),
        rule(bus="<bus>"),
        targets(bus="<bus>"),
        Step("RemoveTargets", {"Rule": "<rule>", "EventBusName": "<bus>", "Ids": ["<target>"]}),
    ],
    "remove-targets.one": [bus(), rule(bus="<bus>"), targets(bus="<bus>")],
    "list-targets-by-rule.page-1": _FIVE_TARGETS,
    "list-targets-by-rule.page-2": [
        *_FIVE_TARGETS,
        Step("ListTargetsByRule", {"Rule": "<rule>", "Limit": 3}, _PAGE),
    ],
    "list-targets-by-rule.same-id-twice": [
        rule(),
        targets(InputPath="$.detail"),
        targets(InputPath="$.notexisting"),
    ],
    "list-targets-by-rule.same-id-two-rules": [
        rule("<p>-other"),
        targets(rule="<p>-other", InputPath="$.detail"),
        rule(),
        targets(InputPath="$.notexisting"),
    ],
    "list-targets-by-rule.same-arn-two-ids": [
        rule(),
        targets("<target>", InputPath="$.detail"),
        targets("<target:2>", InputPath="$.doesnotexist"),
    ],
    "list-targets-by-rule.constant-input": [rule(), targets(Input={"$json": {"custom-value": "somecustominput"}})],
    "put-targets.input-path-and-transformer": [bus(), rule(bus="<bus>")],
    "put-targets.bus-arn-as-name": [bus(), rule(bus="<bus>")],
    "put-events.eleven-entries": [bus()],
    "put-events.target-missing": [rule(), targets()],
    "put-events.two-targets-one-entry": [rule(), targets("<target>"), targets("<target:2>", arn="<queue-arn>-other")],
    "put-events.bus-missing": [rule(EventPattern={"$json": {"source": ["MySource"]}}), targets()],
    "list-rules.schedule-rate": [rule(ScheduleExpression="rate(1 minute)")],
    "tag-resource.bus-or-rule": [bus()],
    "list-tags-for-resource.two": [bus(), tagged()],
    "untag-resource.one": [bus(), tagged()],
    "untag-resource.key-missing": [bus(), Step("TagResource", {"ResourceARN": "<arn>", "Tags": TAGS[:1]})],
    "list-tags-for-resource.bus-created-with-tags": [bus(Tags=TAGS)],
    "list-tags-for-resource.rule-deleted-custom-bus": [
        bus(),
        rule(bus="<bus>"),
        Step("DeleteRule", {"Name": "<rule>", "EventBusName": "<bus>"}),
    ],
    "list-tags-for-resource.bus-recreated": [bus(Tags=TAGS[:1]), no_bus(), bus()],
    "list-tags-for-resource.rule-recreated": [
        bus(),
        rule(bus="<bus>", EventPattern={"$json": PATTERN}, Tags=TAGS[:1]),
        Step("DeleteRule", {"Name": "<rule>", "EventBusName": "<bus>"}),
        rule(bus="<bus>"),
    ],
    "list-tags-for-resource.default-bus": [
        Step("TagResource", {"ResourceARN": "<default-bus-arn>", "Tags": TAGS[:1]}),
    ],
    "create-archive.exists": [bus(), archive()],
    "list-archives.one": [bus(), archive()],
    "list-archives.by-source-arn": [bus(), archive()],
    "list-archives.by-state": [bus(), archive()],
    "list-archives.with-events": [bus(), archive(), *archived(10)],
    "describe-archive.empty": [bus(), archive()],
    "describe-archive.no-pattern": [bus(), archive(EventPattern=None), *archived(10)],
    "update-archive.all": [archive()],
    "delete-archive.plain": [archive()],
    "start-replay.full": [rule(), archive(), *archived(3)],
    "list-replays.completed-with-events": _FULL,
    "list-replays.completed-without-events": [archive(), replay(), completed()],
    "list-replays.by-archive": [archive(), replay(), completed()],
    "list-replays.page-1": _MANY_REPLAYS,
    "list-replays.page-2": [*_MANY_REPLAYS, Step("ListReplays", {"NamePrefix": "<p>", "Limit": 3}, _PAGE)],
    "describe-replay.completed": _FULL,
    "cancel-replay.running": [archive(), replay()],
    "describe-replay.cancelling": [
        archive(),
        replay(filtered=True),
        Step("CancelReplay", {"ReplayName": "<replay>"}),
    ],
    "start-replay.name-taken": [archive(), replay()],
    "start-replay.end-before-start": [
        Step("CreateArchive", {"ArchiveName": "<archive>", "EventSourceArn": "<default-bus-arn>"}),
    ],
    "start-replay.bus-missing": [Step("CreateArchive", {"ArchiveName": "<archive>", "EventSourceArn": "<default-bus-arn>"})],
    "start-replay.other-bus": [
        Step("CreateArchive", {"ArchiveName": "<archive>", "EventSourceArn": "<default-bus-arn>"}),
        bus(),
    ],
    "describe-connection.api-key": [connection("API_KEY", KEY_AUTH)],
    "describe-connection.empty-invocation-parameters": [
        connection("API_KEY", {**KEY_AUTH, "InvocationHttpParameters": {}}),
    ],
    "describe-connection.basic": [connection()],
    "describe-connection.oauth": [connection("OAUTH_CLIENT_CREDENTIALS", OAUTH)],
    "update-connection.basic": [connection()],
    "delete-connection.plain": [connection()],
    "describe-connection.not-found": [connection(), Step("DeleteConnection", {"Name": "<connection>"})],
    "create-api-destination.plain": [connection()],
    "create-api-destination.oauth-connection": [connection("OAUTH_CLIENT_CREDENTIALS", OAUTH)],
    "create-api-destination.name-with-spaces": [connection()],
    "describe-api-destination.plain": [connection(), destination()],
    "list-api-destinations.one": [connection(), destination()],
    "update-api-destination.plain": [connection(), destination()],
    "describe-api-destination.updated": [
        connection(),
        destination(),
        Step(
            "UpdateApiDestination",
            {
                **DESTINATION,
                "HttpMethod": "PUT",
                "InvocationEndpoint": "https://example.com/api/v2",
                "Description": "Updated API destination",
            },
        ),
    ],
    "delete-api-destination.plain": [connection(), destination()],
    "describe-api-destination.not-found": [
        connection(),
        destination(),
        Step("DeleteApiDestination", {"Name": "<destination>"}),
    ],
}
"""Of entries that are not here, nothing has to be made."""
