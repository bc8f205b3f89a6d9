"""Every operation of the services that matter here, in every protocol that their models list: what botocore's serializer writes
is what a handler gets, and what a handler answers is what botocore's parser reads."""

from __future__ import annotations

import copy
import datetime
import functools
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.awsrequest import AWSRequest, HeadersDict, create_request_object, prepare_request_dict
from botocore.loaders import Loader
from botocore.model import OperationModel
from botocore.model import ServiceModel as BotocoreModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from shared.aws import query_names
from shared.aws.protocols.protocol import Response, WireProtocol
from shared.aws.protocols.table import PROTOCOLS
from shared.aws.routing import Route, Router, parse_query
from shared.aws.service_model import Kind, Location, Member, Operation, ServiceModel, Shape, load_service_model, service_names
from shared.domain.errors import ApiError, SerializationException

SERVICES = [
    "lambda",
    "sqs",
    "sns",
    "events",
    "scheduler",
    "iam",
    "sts",
    "logs",
    "cloudwatch",
    "xray",
    "kinesis",
    "dynamodbstreams",
    "ec2",
    "s3",
    "cloudformation",
    "dynamodb",
]
CASES = [(service, protocol) for service in SERVICES for protocol in load_service_model(service).protocols]
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
TEXT = 'text é€ /:?&=+%20"\\<&>'
TWINS = {
    "ListDirectoryBuckets": "ListBuckets",
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}
"""Operations of S3 that are another's request: only another host, or the client's age, tells them apart."""
AMBIGUOUS = {"GetBucketNotification", "PutBucketNotification"}
"""Structures in which two members have one name."""
REQUEST_ID = "c6af9ac6-7b61-4e6b-8d0a-3f1c2b5d7e90"
every_case = pytest.mark.parametrize(("service", "protocol"), CASES, ids=lambda value: value)


def example(shape: Shape, seen: tuple[str, ...] = ()) -> Any:
    """A value with every member (one of a union), odd characters in every text."""
    match shape.kind:
        case Kind.STRUCTURE:
            if shape.document:
                return {"any": [1, "thing", None]}
            seen = (*seen, shape.name)
            members = [one for one in shape.members.values() if innermost(one.shape).name not in seen and not one.shape.events]
            return {member.name: of_member(member, seen) for member in (members[-1:] if shape.union else members)}
        case Kind.LIST:
            assert shape.element is not None
            return [example(shape.element, seen), example(shape.element, seen)]
        case Kind.MAP:
            assert shape.key is not None
            assert shape.element is not None
            keys = shape.key.choices[:2] or ("key é/+ %<", "b")
            return {key: example(shape.element, seen) for key in keys}
        case Kind.STRING | Kind.CHARACTER:
            return shape.choices[-1] if shape.choices else TEXT
        case Kind.INTEGER:
            return 2**31 - 1
        case Kind.LONG:
            return -(2**63) + 1
        case Kind.DOUBLE | Kind.FLOAT:
            return 0.25
        case Kind.BOOLEAN:
            return True
        case Kind.BLOB:
            return b"\x00\xff bytes"
        case Kind.TIMESTAMP:
            return MOMENT
    raise AssertionError(shape.kind)


def innermost(shape: Shape) -> Shape:
    return shape if shape.element is None else innermost(shape.element)


def of_member(member: Member, seen: tuple[str, ...]) -> Any:
    if member.json_text:
        return {"json": ["in", "a header"]}
    if member.host_label:
        return "label"
    if member.attribute:
        return "text"
    if member.location is Location.HEADERS:
        return {"one": "header text", "two": "another"}
    if member.location is Location.HEADER and member.shape.kind is Kind.STRING and not member.shape.choices:
        return "header text"
    if member.location is Location.HEADER and member.shape.kind is Kind.LIST:
        assert member.shape.element is not None
        element = member.shape.element
        return ["one", 'two, "quoted"'] if element.kind is Kind.STRING and not element.choices else [example(element)] * 2
    return example(member.shape, seen)


def plain(value: Any) -> Any:
    """As a handler gets it: timestamps are Unix seconds."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.timestamp() if isinstance(value, datetime.datetime) else value


def without_empty(value: Any) -> Any:
    """A form has no way to say that a structure is there and empty."""
    if isinstance(value, dict):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item != {}}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


@functools.cache
def described(service: str, protocol: str) -> BotocoreModel:
    """botocore's own model, with the names of the query protocol back in it where it has lost them."""
    description = Loader(include_default_extras=False).load_service_model(service, "service-2")
    names = query_names.of(service)
    if protocol in names.protocols:
        description = copy.deepcopy(description)
        put_names_back(description, names)
    return BotocoreModel(description, service)


def put_names_back(description: dict[str, Any], names: query_names.QueryNames) -> None:
    description["metadata"]["xmlNamespace"] = names.namespace
    for name, operation in description["operations"].items():
        if "output" in operation:
            operation["output"]["resultWrapper"] = f"{name}Result"
    for name, shape in description["shapes"].items():
        key_name, element_name = names.elements.get(name, (None, None))
        if key_name is not None:
            shape["key"]["locationName"] = key_name
            shape["value"]["locationName"] = element_name
        elif element_name is not None:
            shape["member"]["locationName"] = element_name
        for reference in shape.get("members", {}).values():
            if reference["shape"] in names.members:
                reference["locationName"] = names.members[reference["shape"]]


def operations(service: str, protocol: str) -> Iterator[tuple[ServiceModel, Operation, OperationModel]]:
    ours, theirs = load_service_model(service), described(service, protocol)
    for name in sorted(ours.operations):
        yield ours, ours.operations[name], theirs.operation_model(name)


@functools.cache
def router(service: str) -> Router:
    return Router(load_service_model(service).operations.values())


def sent(serialize: Callable[..., dict[str, Any]], params: dict[str, Any], operation: OperationModel) -> Any:
    request = serialize(params, operation)
    prepare_request_dict(request, "http://endpoint.test")
    prepared: AWSRequest = create_request_object(request)
    return prepared.prepare()


def found_route(ours: ServiceModel, protocol: str, operation: Operation, request: Any) -> Route:
    if not protocol.startswith("rest"):
        return Route(operation, {})
    url = urlsplit(request.url)
    names = {name.lower() for name in request.headers}
    route = router(ours.name).route(request.method, url.path, parse_query(url.query), names)
    assert route is not None, f"{operation.name}: {request.method} {request.url} leads nowhere"
    if TWINS.get(operation.name) == route.operation.name:
        return Route(operation, route.labels)
    assert route.operation.name == operation.name, f"{request.method} {request.url}"
    return route


@every_case
def test_what_botocore_sends_is_what_a_handler_gets(service: str, protocol: str) -> None:
    serializer = create_serializer(protocol, include_validation=False)
    wire: WireProtocol = PROTOCOLS[protocol]
    for ours, operation, theirs in operations(service, protocol):
        params = {} if operation.input is None else example(operation.input)
        request = sent(serializer.serialize_to_request, params, theirs)
        route = found_route(ours, protocol, operation, request)
        headers = {name.lower(): text_of(value) for name, value in request.headers.items()}
        body = request.body or b""
        raw = body if isinstance(body, bytes) else body.encode()
        found = wire.parse(route, parse_query(urlsplit(request.url).query), headers, raw)
        if operation.name in AMBIGUOUS:
            continue
        assert found == (without_empty(plain(params)) if protocol == "query" else plain(params)), f"{service} {operation.name}"


def text_of(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def received(response: Response, operation: str = "") -> dict[str, Any]:
    headers = HeadersDict([(name.decode(), value.decode("latin-1")) for name, value in response.headers])
    return {
        "status_code": response.status,
        "headers": headers,
        "body": response.body,
        "context": {"operation_name": operation},
    }


@every_case
def test_what_a_handler_answers_is_what_botocore_reads(service: str, protocol: str) -> None:
    parser = create_parser(protocol)
    wire: WireProtocol = PROTOCOLS[protocol]
    for ours, operation, theirs in operations(service, protocol):
        if theirs.get_event_stream_output() is not None or operation.name in AMBIGUOUS:
            continue
        shape = operation.output
        reply = {} if shape is None else example(shape)
        for member in shape.members.values() if shape is not None else ():
            if member.location is Location.STATUS:
                reply[member.name] = operation.status
        response = wire.reply(ours, operation, reply, REQUEST_ID)
        assert response.status == theirs.http.get("responseCode", 200)
        if theirs.has_streaming_output:
            assert shape is not None
            assert response.body == reply[shape.payload]
            continue
        parsed = parser.parse(received(response), theirs.output_shape)
        metadata = parsed.pop("ResponseMetadata")
        if protocol != "smithy-rpc-v2-cbor" or shape is not None:
            assert metadata["RequestId"] == REQUEST_ID, operation.name
        if response.status == 204 and shape is not None:
            reply = {name: item for name, item in reply.items() if shape.members[name].location is not Location.BODY}
        assert plain(parsed) == plain(reply), f"{service} {operation.name}"


@every_case
def test_an_error_is_read_by_botocore_with_its_code_and_message(service: str, protocol: str) -> None:
    parser = create_parser(protocol)
    ours = load_service_model(service)
    for name in [*ours.failures, "UnmodelledException"]:
        error = ApiError(TEXT)
        error.code, error.status = name, 409
        response = PROTOCOLS[protocol].error(ours, error, REQUEST_ID)
        assert response.status == 409
        parsed = parser.parse(received(response), None)
        failure = ours.failures.get(name)
        spoken = protocol in ("query", "ec2") or ours.query_compatible
        assert parsed["Error"]["Code"] == (failure.code if failure is not None and spoken else name)
        assert parsed["Error"]["Message"] == TEXT
        assert parsed["ResponseMetadata"]["RequestId"] == REQUEST_ID
        if protocol == "query":
            assert parsed["Error"]["Type"] == "Sender"


@pytest.mark.parametrize("service", SERVICES)
def test_a_real_client_raises_our_error_as_its_own(service: str) -> None:
    session = botocore.session.get_session()
    client = session.create_client(
        service, region_name="us-east-1", endpoint_url="http://127.0.0.1:1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    model = load_service_model(service)
    error = ApiError("said in the service's own way")
    error.code, error.status = "SomethingWentWrong", 400
    response = PROTOCOLS[client.meta.service_model.resolved_protocol].error(model, error, REQUEST_ID)
    headers = {name.decode(): value.decode() for name, value in response.headers}

    class Raw:
        def stream(self, **_: Any) -> Iterator[bytes]:
            yield response.body

        def read(self, *_: Any) -> bytes:
            return response.body

    client.meta.events.register(
        "before-send", lambda **_: botocore.awsrequest.AWSResponse("http://x", response.status, HeadersDict(headers), Raw())
    )
    operation = next(name for name, one in model.operations.items() if one.input is None or not one.input.required)
    method = next(name for name, wire in client.meta.method_to_api_mapping.items() if wire == operation)
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, method)()
    assert caught.value.response["Error"]["Code"] == "SomethingWentWrong"
    assert caught.value.response["Error"]["Message"] == "said in the service's own way"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_service_that_left_the_query_protocol_tells_its_old_codes() -> None:
    model = load_service_model("sqs")
    error = ApiError("The specified queue does not exist.")
    error.code, error.status = "QueueDoesNotExist", 400
    response = PROTOCOLS["json"].error(model, error, REQUEST_ID)
    assert dict(response.headers)[b"x-amzn-query-error"] == b"AWS.SimpleQueueService.NonExistentQueue;Sender"
    assert b"AWS.SimpleQueueService.NonExistentQueue" in PROTOCOLS["query"].error(model, error, REQUEST_ID).body


def test_every_service_that_botocore_knows_can_be_loaded() -> None:
    names = service_names()
    assert set(SERVICES) <= names
    assert len(names) > 300


DAMAGED = {
    "json": [b"{", b"[]", b'{"QueueName": 5}', b"\xff"],
    "query": [b"\xff", b"QueueName.1=x", b"a" + b".a" * 40 + b"=1", b"Attribute.1.Name=x", b"&".join([b"a=1"] * 30_000)],
    "smithy-rpc-v2-cbor": [b"\xa1", b"\x9f" * 100, b"\xbb" + b"\xff" * 8, b"\xa1\x01\x02", b"\xc2\x01", b"\x1c", b"\xa0\xa0"],
    "rest-xml": [b"<a", b"<!DOCTYPE a><a/>", b"<a>" * 100, b"", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'],
}


@pytest.mark.parametrize(("protocol", "body"), [(name, body) for name, bodies in DAMAGED.items() for body in bodies])
def test_what_is_damaged_is_the_clients_mistake(protocol: str, body: bytes) -> None:
    service, operation = {
        "json": ("sqs", "CreateQueue"),
        "query": ("sqs", "CreateQueue"),
        "smithy-rpc-v2-cbor": ("cloudwatch", "PutMetricData"),
        "rest-xml": ("s3", "PutBucketTagging"),
    }[protocol]
    route = Route(load_service_model(service).operations[operation], {})
    if body == b"":
        assert PROTOCOLS[protocol].parse(route, {}, {}, body) == {}
        return
    with pytest.raises(SerializationException):
        PROTOCOLS[protocol].parse(route, {}, {}, body)
