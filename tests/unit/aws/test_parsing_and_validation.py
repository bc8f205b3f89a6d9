"""Texts are AWS's, recorded from the service."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.aws.patterns import compile_pattern
from shared.aws.protocols.rest_json import parse_params
from shared.aws.routing import Route, Router
from shared.aws.service_model import ServiceModel, Shape, load_service_model
from shared.aws.validation import validate
from shared.domain.errors import SerializationException, ValidationException

MODEL = load_service_model()
RUNTIMES = (
    "nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, python3.10, python3.11, "
    "java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, java11, dotnet6, "
    "nodejs18.x, provided.al2, java8.al2"
)
FUNCTION = {"FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/r", "Code": {}}


def check(operation: str, body: Any, labels: dict[str, str] | None = None, query: dict[str, list[str]] | None = None) -> Any:
    route = Route(MODEL.operations[operation], labels or {})
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    params = parse_params(route, query or {}, {}, raw)
    validate(route.operation, params)
    return params


RECORDED = [
    (
        "CreateFunction",
        {**FUNCTION, "FunctionName": "invalid:function:name"},
        "1 validation error detected: Value 'invalid:function:name' at 'functionName' failed to satisfy constraint: Member must "
        "satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?"
        "(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?",
    ),
    (
        "CreateFunction",
        {**FUNCTION, "FunctionName": "a" * 141},
        f"1 validation error detected: Value '{'a' * 141}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 140",
    ),
    (
        "CreateFunction",
        {**FUNCTION, "VpcConfig": {"SubnetIds": ["bad"]}},
        "1 validation error detected: Value '[bad]' at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must satisfy "
        "constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 0, "
        "Member must satisfy regular expression pattern: subnet-[0-9a-z]*]",
    ),
    (
        "CreateFunction",
        {**FUNCTION, "SnapStart": {"ApplyOn": "invalidOption"}},
        "1 validation error detected: Value 'invalidOption' at 'snapStart.applyOn' failed to satisfy constraint: "
        "Member must satisfy enum value set: [PublishedVersions, None]",
    ),
    (
        "UpdateFunctionConfiguration",
        {"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:l"]},
        "1 validation error detected: Value '[arn:aws:lambda:us-east-1:000000000000:layer:l]' at 'layers' failed to satisfy "
        "constraint: Member must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length "
        "greater than or equal to 1, Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}"
        "((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:"
        "[a-zA-Z0-9-_]+), Member must not be null]",
    ),
    (
        "CreateEventSourceMapping",
        {"FunctionName": "f", "StartingPosition": "invalid"},
        "1 validation error detected: Value 'invalid' at 'startingPosition' failed to satisfy constraint: "
        "Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]",
    ),
    (
        "PublishLayerVersion",
        {
            "Content": {},
            "CompatibleRuntimes": ["invalidruntime", "nodejs20.x"],
            "CompatibleArchitectures": ["invalidarch", "x86_64"],
        },
        "2 validation errors detected: Value '[invalidruntime, nodejs20.x]' at 'compatibleRuntimes' failed to satisfy constraint: "
        f"Member must satisfy enum value set: [{RUNTIMES}]; Value '[invalidarch, x86_64]' at 'compatibleArchitectures' failed to "
        "satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], "
        "Member must not be null]",
    ),
    (
        "PutProvisionedConcurrencyConfig",
        {"ProvisionedConcurrentExecutions": 0},
        "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1",
    ),
    (
        "PutFunctionRecursionConfig",
        {"RecursiveLoop": "InvalidValue"},
        "1 validation error detected: Value 'InvalidValue' at 'recursiveLoop' failed to satisfy constraint: "
        "Member must satisfy enum value set: [Terminate, Allow]",
    ),
    (
        "UpdateFunctionConfiguration",
        {"Role": "r1"},
        "1 validation error detected: Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression "
        "pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
    ),
    (
        "CreateFunction",
        {**FUNCTION, "Architectures": ["X86_64"]},
        "1 validation error detected: Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must satisfy "
        "constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    ),
    *(
        (
            "CreateAlias",
            {"Name": "a", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": weight}}},
            f"1 validation error detected: Value '{{2={shown}}}' at 'routingConfig.additionalVersionWeights' failed to satisfy "
            "constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have "
            "value greater than or equal to 0.0, Member must not be null]",
        )
        for weight, shown in ((2, "2.0"), (2.0, "2.0"), (-1, "-1.0"), (1.25, "1.25"), (1e7, "1.0E7"), (-0.0001, "-1.0E-4"))
    ),
    (
        "CreateAlias",
        {"Name": "a", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.5}}},
        "1 validation error detected: Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy "
        "constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have "
        "length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]",
    ),
    (
        "CreateEventSourceMapping",
        {"FunctionName": "f", "FunctionResponseTypes": ["Everything"]},
        "1 validation error detected: Value '[Everything]' at 'functionResponseTypes' failed to satisfy constraint: Member must "
        "satisfy constraint: [Member must satisfy enum value set: [ReportBatchItemFailures], Member must not be null]",
    ),
    (
        "CreateAlias",
        {"Name": "2024", "FunctionVersion": "1"},
        "1 validation error detected: Value '2024' at 'name' failed to satisfy constraint: Member must satisfy regular expression "
        "pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
    ),
]


@pytest.mark.parametrize(("operation", "body", "text"), RECORDED, ids=[f"{r[0]}-{i}" for i, r in enumerate(RECORDED)])
def test_violations_read_as_recorded_from_aws(operation: str, body: dict[str, Any], text: str) -> None:
    labels = {"FunctionName": "f", "LayerName": "l"}
    with pytest.raises(ValidationException) as raised:
        check(operation, body, labels, {"Qualifier": ["1"]})
    assert raised.value.message == text


def test_members_of_lists_are_never_null_but_in_those_of_old() -> None:
    with pytest.raises(ValidationException) as raised:
        check(
            "CreateFunctionUrlConfig", {"AuthType": "NONE", "Cors": {"AllowMethods": ["GET", "OPTIONS"]}}, {"FunctionName": "f"}
        )
    assert raised.value.message == (
        "1 validation error detected: Value '[GET, OPTIONS]' at 'cors.allowMethods' failed to satisfy constraint: Member must "
        "satisfy constraint: [Member must have length less than or equal to 6, Member must have length greater than or equal to "
        "0, Member must satisfy regular expression pattern: .*, Member must not be null]"
    )


def test_a_missing_query_list_is_null() -> None:
    with pytest.raises(ValidationException) as raised:
        check("UntagResource", b"", {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f"})
    assert raised.value.message == (
        "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null"
    )


def test_a_query_enumeration_is_checked() -> None:
    with pytest.raises(ValidationException) as raised:
        check("ListFunctions", b"", query={"FunctionVersion": ["invalid"]})
    assert raised.value.message.endswith(
        "at 'functionVersion' failed to satisfy constraint: Member must satisfy enum value set: [ALL]"
    )


def test_sensitive_values_are_not_repeated() -> None:
    with pytest.raises(ValidationException) as raised:
        check("CreateFunction", {**FUNCTION, "Environment": {"Variables": {"1BAD": "secret"}}})
    assert raised.value.message == (
        "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy "
        "constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
    )


def test_the_runtime_of_a_function_is_left_to_the_operation() -> None:
    assert check("CreateFunction", {**FUNCTION, "Runtime": "non-existent"})["Runtime"] == "non-existent"


@pytest.mark.parametrize("tag", ["key", "Ünïcode ключ 日本", "a b_.:/=+-@"])
def test_tag_patterns_with_unicode_classes_hold(tag: str) -> None:
    resource = {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f"}
    assert check("TagResource", {"Tags": {tag: tag}}, resource)
    with pytest.raises(ValidationException):
        check("TagResource", {"Tags": {tag + "!": "x"}}, resource)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "Could not parse request body into json"),
        (b"[]", "Expected structure or null"),
        (b'"text"', "Expected structure or null"),
        (b"[" * 50_000, "Could not parse request body into json"),
        (b'{"Timeout": "3"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"Timeout": true}', "TRUE_VALUE can not be converted to an Integer"),
        (b'{"Timeout": 99999999999999999999}', "NUMBER_VALUE can not be converted to an Integer"),
        (b'{"Description": 3}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"Description": {}}', "Start of structure or map found where not expected."),
        (b'{"Description": []}', "Start of list found where not expected"),
        (b'{"Layers": {}}', "Expected list or null"),
        (b'{"Environment": 5}', "Expected structure or null"),
        (b'{"Environment": {"Variables": []}}', "Expected map or null"),
        (b'{"Description": "a\\u0000b"}', "U+0000"),
    ],
)
def test_wrong_json_types_are_serialization_errors(body: bytes, text: str) -> None:
    with pytest.raises(SerializationException) as raised:
        check("UpdateFunctionConfiguration", body, {"FunctionName": "f"})
    assert text in raised.value.message
    assert raised.value.status == 400


def test_null_members_are_absent_and_unknown_ones_ignored() -> None:
    assert check("UpdateFunctionConfiguration", b'{"Description": null, "Nope": 1}', {"FunctionName": "f"}) == {
        "FunctionName": "f"
    }


def test_blobs_and_timestamps_are_decoded() -> None:
    body = {**FUNCTION, "Code": {"ZipFile": base64.b64encode(b"zip").decode()}}
    assert check("CreateFunction", body)["Code"]["ZipFile"] == b"zip"
    with pytest.raises(SerializationException):
        check("CreateFunction", {**FUNCTION, "Code": {"ZipFile": "not base64!"}})
    mapping = {"FunctionName": "f", "StartingPosition": "AT_TIMESTAMP"}
    assert check("CreateEventSourceMapping", {**mapping, "StartingPositionTimestamp": 5})["StartingPositionTimestamp"] == 5.0
    text = {**mapping, "StartingPositionTimestamp": "1970-01-01T00:00:05Z"}
    assert check("CreateEventSourceMapping", text)["StartingPositionTimestamp"] == 5.0


@pytest.mark.parametrize(
    "value",
    [
        '"nan"',
        '"inf"',
        '"-Infinity"',
        '"1e400"',
        "1e300",
        "253402300800",
        "-62135596801",
        '"0000-01-01"',
        '"9999-12-31T23:59:59-05:00"',
        '""',
        "true",
    ],
)
def test_a_timestamp_is_one_that_a_calendar_has(value: str) -> None:
    body = b'{"FunctionName": "f", "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": ' + value.encode() + b"}"
    with pytest.raises(SerializationException):
        check("CreateEventSourceMapping", body)


@pytest.mark.parametrize("text", ["1_0", " 5", "\u0663", "5.0", "0x5", "", "5" * 30, "1e3"])
def test_a_number_in_a_query_is_written_in_digits(text: str) -> None:
    with pytest.raises(SerializationException):
        check("ListFunctions", b"", query={"MaxItems": [text]})
    assert check("ListFunctions", b"", query={"MaxItems": ["5"]})["MaxItems"] == 5


@pytest.mark.parametrize("number", ["1e308", "1" + "0" * 18])
def test_a_large_double_is_still_one(number: str) -> None:
    body = b'{"Name": "a", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": %b}}}' % number.encode()
    with pytest.raises(ValidationException) as raised:
        check("CreateAlias", body, {"FunctionName": "f"})
    assert "Member must have value less than or equal to 1" in raised.value.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1e999}',
        b'{"a": NaN}',
        b'{"a": "\xc3("}',
        b"\xef\xbb\xbf{}",
        b'{"a": "\\ud800"}',
        b"{}{}",
        b'{"\xff": 1}',
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_what_is_not_json_is_told_whatever_is_wrong_with_it(body: bytes) -> None:
    with pytest.raises(SerializationException) as raised:
        check("UpdateFunctionConfiguration", body, {"FunctionName": "f"})
    assert raised.value.message.startswith("Could not parse request body into json: ")


def test_the_last_of_equal_keys_counts() -> None:
    assert check("UpdateFunctionConfiguration", b'{"Timeout": 1, "Timeout": 2}', {"FunctionName": "f"})["Timeout"] == 2


def test_what_the_model_does_not_know_is_not_looked_into() -> None:
    deep = b'{"Unknown": ' + b"[" * 900 + b"]" * 900 + b', "Timeout": 2}'
    assert check("UpdateFunctionConfiguration", deep, {"FunctionName": "f"})["Timeout"] == 2


def test_violations_of_inner_members_name_their_place() -> None:
    with pytest.raises(ValidationException) as raised:
        check("CreateFunction", {**FUNCTION, "FileSystemConfigs": [{"Arn": "x", "LocalMountPath": "/mnt/a"}]})
    assert "Value 'x' at 'fileSystemConfigs.1.member.arn' failed to satisfy constraint: " in raised.value.message
    with pytest.raises(ValidationException) as raised:
        check("CreateFunction", {**FUNCTION, "FileSystemConfigs": [None]})
    assert (
        "Value null at 'fileSystemConfigs.1.member' failed to satisfy constraint: Member must not be null"
        in raised.value.message
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(sorted(MODEL.operations)))
    shape = MODEL.operations[name].input
    members = sorted(shape.members) if shape is not None else []
    chosen = draw(st.lists(st.sampled_from(members), max_size=6)) if members else []
    return name, {member: draw(json_values) for member in chosen}


@settings(max_examples=300, deadline=None)
@given(requests())
def test_no_body_makes_anything_but_an_api_error(request: tuple[str, dict[str, Any]]) -> None:
    operation, body = request
    with contextlib.suppress(SerializationException, ValidationException):
        check(operation, body)


def test_every_pattern_of_the_model_compiles(model: ServiceModel, router: Router) -> None:
    seen: dict[int, Shape] = {}
    waiting = [s for o in model.operations.values() for s in (o.input, o.output) if s is not None]
    while waiting:
        shape = waiting.pop()
        if id(shape) not in seen:
            seen[id(shape)] = shape
            if shape.pattern:
                compile_pattern(shape.pattern)
            waiting += [member.shape for member in shape.members.values()]
            waiting += [inner for inner in (shape.element, shape.key) if inner is not None]
    assert len(seen) > 300
