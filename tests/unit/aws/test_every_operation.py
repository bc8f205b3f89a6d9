"""Every operation of the model, with every member of its shapes: what botocore sends is what a handler gets, and what a handler
answers is what botocore reads."""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import quote, urlencode

import botocore.session
import msgspec
import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from shared.aws.protocols.rest_json import parse_params, serialize_reply
from shared.aws.routing import Router, parse_query
from shared.aws.service_model import Kind, Location, Shape, load_service_model

MODEL = load_service_model()
ROUTER = Router(MODEL.operations.values())
BOTOCORE = botocore.session.get_session().get_service_model("lambda")
SERIALIZER = create_serializer("rest-json", include_validation=False)
PARSER = create_parser("rest-json")
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
DEPTH_MAX = 8


def example(shape: Shape, seen: tuple[str, ...] = ()) -> Any:
    """A value with every member, odd characters in every text; what is not checked here are ranges and patterns."""
    match shape.kind:
        case Kind.STRUCTURE:
            return {
                name: example(member.shape, (*seen, shape.name))
                for name, member in shape.members.items()
                if member.shape.name not in seen
            }
        case Kind.LIST:
            assert shape.element is not None
            return [example(shape.element, seen), example(shape.element, seen)]
        case Kind.MAP:
            assert shape.key is not None
            assert shape.element is not None
            return {"key é/+ %": example(shape.element, seen), "b": example(shape.element, seen)}
        case Kind.STRING:
            return shape.choices[-1] if shape.choices else 'text é€ /:?&=+%20"\\'
        case Kind.INTEGER:
            return 2**31 - 1
        case Kind.LONG:
            return 2**63 - 1
        case Kind.DOUBLE:
            return 0.25
        case Kind.BOOLEAN:
            return True
        case Kind.BLOB:
            return b"\x00\xff bytes"
        case Kind.TIMESTAMP:
            return MOMENT
    raise AssertionError(shape.kind)


def received(shape: Shape, value: Any) -> Any:
    """As a handler gets it: timestamps are Unix seconds."""
    if shape.kind is Kind.STRUCTURE:
        return {name: received(shape.members[name].shape, item) for name, item in value.items()}
    if shape.kind is Kind.LIST and shape.element is not None:
        return [received(shape.element, item) for item in value]
    if shape.kind is Kind.MAP and shape.element is not None:
        return {key: received(shape.element, item) for key, item in value.items()}
    return value.timestamp() if isinstance(value, datetime.datetime) else value


def in_headers(shape: Shape, value: dict[str, Any]) -> dict[str, Any]:
    """Headers carry ASCII."""
    texts = {
        name
        for name, member in shape.members.items()
        if member.location is Location.HEADER and isinstance(value.get(name), str)
    }
    return {
        name: "header text" if name in texts and not shape.members[name].shape.choices else item for name, item in value.items()
    }


@pytest.mark.parametrize("name", sorted(MODEL.operations))
def test_what_botocore_sends_is_what_a_handler_gets(name: str) -> None:
    operation = MODEL.operations[name]
    shape = operation.input
    params = in_headers(shape, example(shape)) if shape is not None else {}
    sent = SERIALIZER.serialize_to_request(params, BOTOCORE.operation_model(name))
    path, _, fixed = sent["url_path"].partition("?")
    pairs = sent["query_string"]
    query = urlencode(list(pairs.items()) if isinstance(pairs, dict) else pairs, doseq=True, quote_via=quote, safe="")
    query = "&".join(part for part in (fixed, query) if part)
    route = ROUTER.route(sent["method"], path, parse_query(query))
    assert route is not None
    assert route.operation.name == name
    headers = {key.lower(): value for key, value in sent["headers"].items()}
    body = sent["body"]
    raw = body if isinstance(body, bytes) else body.encode()
    expected = {} if shape is None else received(shape, params)
    assert parse_params(route, parse_query(query), headers, raw) == expected


@pytest.mark.parametrize("name", sorted(set(MODEL.operations) - {"InvokeWithResponseStream"}))
def test_what_a_handler_answers_is_what_botocore_reads(name: str) -> None:
    operation = MODEL.operations[name]
    described = BOTOCORE.operation_model(name)
    shape = operation.output
    reply = in_headers(shape, example(shape)) if shape is not None else {}
    for member in shape.members.values() if shape is not None else ():
        if member.location is Location.STATUS:
            reply[member.name] = operation.status
    answer = serialize_reply(operation, reply)
    assert answer.status == described.http["responseCode"]
    if described.output_shape is None:
        assert answer.body == b""
        return
    raw = {"status_code": answer.status, "headers": {k.decode(): v.decode() for k, v in answer.headers}, "body": answer.body}
    if described.has_streaming_output:
        assert answer.body == reply[shape.payload]  # type: ignore[union-attr,index]
        return
    parsed = PARSER.parse(raw, described.output_shape)
    parsed.pop("ResponseMetadata")
    assert normal(parsed) == normal(reply if answer.status != 204 else {})
    if answer.status != 204:
        assert isinstance(msgspec.json.decode(answer.body), dict)


def normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    return value.timestamp() if isinstance(value, datetime.datetime) else value
