"""What EventBridge's operations answer beyond what was recorded, in the words of its service model and of AWS's users."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.frontend.apis.events.operations import events
from shared.domain.errors import ServiceException
from tests.conformance.control_plane import ControlPlane
from tests.conformance.services.service import ACCOUNT, OTHER_REGION, REGION, unique
from tests.conformance.wire import Answer, Wire

ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
PATTERN = json.dumps({"source": ["a"]})
BASIC = {"BasicAuthParameters": {"Username": "u", "Password": "p"}}


@pytest.fixture
def wire(control_plane: ControlPlane) -> Wire:
    return control_plane.wire("events", "json")


def done(answer: Answer) -> Any:
    assert answer.status == 200, answer.raw
    return answer.body


def refused(answer: Answer) -> tuple[int, str, str]:
    code, message = str(answer.body["__type"]), str(answer.body.get("message") or answer.body["Message"])
    return answer.status, code.rpartition("#")[2], message


def test_a_target_of_a_service_that_does_not_run_here_is_taken_and_listed(wire: Wire) -> None:
    rule, arn = unique("rule"), f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:m"
    done(wire.call("PutRule", {"Name": rule, "EventPattern": PATTERN}))
    target = {"Id": "t", "Arn": arn}
    answer = wire.call("PutTargets", {"Rule": rule, "Targets": [target]})
    assert refused(answer) == (400, "ValidationException", f"RoleArn is required for target {arn}.")
    target = {**target, "RoleArn": ROLE, "RetryPolicy": {"MaximumRetryAttempts": 0}}
    assert done(wire.call("PutTargets", {"Rule": rule, "Targets": [target]})) == {"FailedEntries": [], "FailedEntryCount": 0}
    assert done(wire.call("ListTargetsByRule", {"Rule": rule}))["Targets"] == [target]


def test_a_bus_with_rules_is_not_deleted(wire: Wire) -> None:
    bus, rule = unique("bus"), unique("rule")
    done(wire.call("CreateEventBus", {"Name": bus}))
    done(wire.call("PutRule", {"Name": rule, "EventBusName": bus, "EventPattern": PATTERN}))
    expected = (400, "ValidationException", "EventBus can't be deleted since it has rules.")
    assert refused(wire.call("DeleteEventBus", {"Name": bus})) == expected
    done(wire.call("DeleteRule", {"Name": rule, "EventBusName": bus}))
    done(wire.call("DeleteEventBus", {"Name": bus}))
    assert done(wire.call("ListEventBuses", {"NamePrefix": bus}))["EventBuses"] == []


@pytest.mark.parametrize("operation", ["PutRule", "ListRules", "DeleteRule", "PutTargets", "DescribeEventBus"])
def test_the_arn_of_a_bus_of_another_region_is_no_bus_of_this_one(wire: Wire, operation: str) -> None:
    bus = unique("bus")
    done(wire.call("CreateEventBus", {"Name": bus}))
    named = f"arn:aws:events:{OTHER_REGION}:{ACCOUNT}:event-bus/{bus}"
    more: dict[str, Any] = {
        "PutRule": {"Name": "r", "EventPattern": PATTERN},
        "DeleteRule": {"Name": "r"},
        "PutTargets": {"Rule": "r", "Targets": [{"Id": "t", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}]},
    }
    request = {"Name": named} if operation == "DescribeEventBus" else {"EventBusName": named, **more.get(operation, {})}
    expected = (400, "ResourceNotFoundException", f"Event bus {bus} does not exist.")
    assert refused(wire.call(operation, request)) == expected


def test_destinations_of_one_connection_come_in_whole_pages(wire: Wire) -> None:
    prefix = unique("d")
    arns = [
        done(wire.call("CreateConnection", {"Name": f"{prefix}-{n}", "AuthorizationType": "BASIC", "AuthParameters": BASIC}))
        for n in range(2)
    ]
    for n in range(6):
        request = {"Name": f"{prefix}-{n}", "ConnectionArn": arns[n % 2]["ConnectionArn"], "HttpMethod": "POST"}
        done(wire.call("CreateApiDestination", {**request, "InvocationEndpoint": "https://example.com"}))
    wanted = {"ConnectionArn": arns[1]["ConnectionArn"], "Limit": 2}
    first = done(wire.call("ListApiDestinations", wanted))
    last = done(wire.call("ListApiDestinations", {**wanted, "NextToken": first["NextToken"]}))
    assert [one["Name"] for one in first["ApiDestinations"]] == [f"{prefix}-1", f"{prefix}-3"]
    assert [one["Name"] for one in last["ApiDestinations"]] == [f"{prefix}-5"]
    assert "NextToken" not in last


@pytest.mark.parametrize(
    ("operation", "request_", "expected"),
    [
        (
            "TestEventPattern",
            {"EventPattern": '{"source": [{"wildcard": "*a*a*a*a*a*a*"}]}', "Event": "{}"},
            "Event pattern is not valid. Reason: Rule is too complex - try using fewer wildcard characters or fewer repeating "
            "character sequences after a wildcard character",
        ),
        (
            "PutPermission",
            {"Action": "events:PutRule", "Principal": "*", "StatementId": "s"},
            "Provided value in parameter 'action' is not supported.",
        ),
        (
            "PutTargets",
            {"Rule": "r", "Targets": [{"Id": "not valid", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}]},
            "1 validation error detected: Value 'not valid' at 'targets.1.member.id' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+",
        ),
        (
            "CreateEventBus",
            {"Name": "aws.partner/a/b", "EventSourceName": "aws.partner/a/b"},
            "Event bus name must not contain '/'.",
        ),
    ],
)
def test_what_is_refused_is_refused_in_these_words(wire: Wire, operation: str, request_: dict[str, Any], expected: str) -> None:
    status, _, message = refused(wire.call(operation, request_))
    assert (status, message) == (400, expected)


def test_a_failure_of_the_platform_is_called_as_the_service_model_calls_it() -> None:
    api = events(None)  # type: ignore[arg-type]
    failure = ServiceException("The events could not be queued. Please try again.")
    response = api.error(api.protocols[0], failure, "id")
    assert (response.status, json.loads(response.body)["__type"].rpartition("#")[2]) == (500, "InternalException")
    assert api.model.errors["InternalException"].name == "InternalException"


@pytest.mark.covers(
    "eventbridge", "connection-secret.api-key", "connection-secret.basic", "connection-secret.empty-invocation-parameters"
)
@pytest.mark.parametrize(
    ("kind", "auth", "expected"),
    [
        (
            "API_KEY",
            {"ApiKeyAuthParameters": {"ApiKeyName": "ApiKey", "ApiKeyValue": "secret"}},
            {"api_key_name": "ApiKey", "api_key_value": "secret"},
        ),
        ("BASIC", {"BasicAuthParameters": {"Username": "user", "Password": "pass"}}, {"username": "user", "password": "pass"}),
        (
            "BASIC",
            {"BasicAuthParameters": {"Username": "user", "Password": "pass"}, "InvocationHttpParameters": {}},
            {"username": "user", "password": "pass", "invocation_http_parameters": {}},
        ),
    ],
)
def test_secrets_manager_has_the_secret_of_a_connection(
    control_plane: ControlPlane, wire: Wire, kind: str, auth: dict[str, Any], expected: dict[str, Any]
) -> None:
    name = unique("c")
    done(wire.call("CreateConnection", {"Name": name, "AuthorizationType": kind, "AuthParameters": auth}))
    arn = done(wire.call("DescribeConnection", {"Name": name}))["SecretArn"]
    secrets = control_plane.wire("secretsmanager", "json")
    found = done(secrets.call("GetSecretValue", {"SecretId": arn}))
    assert sorted(found) == ["ARN", "CreatedDate", "Name", "SecretString", "VersionId", "VersionStages"]
    assert (found["ARN"], json.loads(found["SecretString"]), found["VersionStages"]) == (arn, expected, ["AWSCURRENT"])
    assert arn.removesuffix(arn[-7:]).endswith(f":secret:{found['Name']}")
    assert found["Name"].startswith(f"events!connection/{name}/")
    assert done(secrets.call("GetSecretValue", {"SecretId": found["Name"]}))["VersionId"] == found["VersionId"]
    done(wire.call("DeleteConnection", {"Name": name}))
    answer = secrets.call("GetSecretValue", {"SecretId": arn})
    expected_error = (400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
    assert refused(answer) == expected_error


def test_a_change_of_a_connection_is_another_version_of_its_secret(control_plane: ControlPlane, wire: Wire) -> None:
    name, secrets = unique("c"), control_plane.wire("secretsmanager", "json")
    done(wire.call("CreateConnection", {"Name": name, "AuthorizationType": "BASIC", "AuthParameters": BASIC}))
    arn = done(wire.call("DescribeConnection", {"Name": name}))["SecretArn"]
    first = done(secrets.call("GetSecretValue", {"SecretId": arn}))
    done(wire.call("UpdateConnection", {"Name": name, "AuthParameters": {"BasicAuthParameters": {"Password": "new"}}}))
    second = done(secrets.call("GetSecretValue", {"SecretId": arn}))
    assert json.loads(second["SecretString"]) == {"username": "u", "password": "new"}
    assert second["VersionId"] != first["VersionId"]
    gone = secrets.call("GetSecretValue", {"SecretId": arn, "VersionId": first["VersionId"]})
    assert refused(gone)[1] == "ResourceNotFoundException"
