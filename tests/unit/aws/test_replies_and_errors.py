from __future__ import annotations

from datetime import UTC, datetime

import botocore.session
import msgspec
import pytest

from shared.aws.error_rendering import CAPITAL_MESSAGE, render
from shared.aws.protocols.rest_json import serialize_reply
from shared.aws.service_model import ServiceModel
from shared.domain.errors import (
    AccessDeniedException,
    ApiError,
    PreconditionFailedException,
    ResourceNotFoundException,
    TooManyRequestsException,
    ValidationException,
)


def test_the_message_key_is_spelled_as_in_the_service_model(model: ServiceModel) -> None:
    for name, shape in model.errors.items():
        assert ("Message" in shape.members) == (name in CAPITAL_MESSAGE), name


def all_errors(kind: type[ApiError] = ApiError) -> list[type[ApiError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in all_errors(child))]


def test_every_error_of_the_tree_has_the_models_status() -> None:
    described = botocore.session.get_session().get_service_model("lambda")
    for kind in all_errors():
        # The frontend's own children answer with 501 and 503 on purpose.
        if kind.__module__ == "shared.domain.errors" and "code" in kind.__dict__ and kind.code in described.shape_names:
            assert kind.status == described.shape_for(kind.code).metadata["error"]["httpStatusCode"], kind


def test_a_recorded_body_has_exactly_its_recorded_bytes() -> None:
    text = "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id"
    rendered = render(PreconditionFailedException(text), "id")
    assert len(rendered.body) == 149
    assert rendered.body == b'{"Type":"User","message":"%b"}' % text.encode()
    assert dict(rendered.headers) == {
        b"content-type": b"application/json",
        b"content-length": b"149",
        b"x-amzn-requestid": b"id",
        b"x-amzn-errortype": b"PreconditionFailedException",
    }


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (ResourceNotFoundException("gone"), 404, {"Type": "User", "Message": "gone"}),
        (ValidationException("bad"), 400, {"message": "bad"}),
        (AccessDeniedException(), 403, {"Message": None}),
        (
            TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded"),
            429,
            {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded."},
        ),
    ],
)
def test_error_bodies_have_awss_keys(error: ApiError, status: int, body: dict[str, str | None]) -> None:
    rendered = render(error, "id")
    assert rendered.status == status
    assert msgspec.json.decode(rendered.body) == body


def test_replies_follow_the_output_shape(model: ServiceModel) -> None:
    reply = serialize_reply(model.operations["GetFunctionConcurrency"], {"ReservedConcurrentExecutions": 0, "Unknown": 1})
    assert (reply.status, reply.body) == (200, b'{"ReservedConcurrentExecutions":0}')
    assert serialize_reply(model.operations["GetFunctionConcurrency"], {}).body == b"{}"
    assert (
        serialize_reply(model.operations["CreateFunction"], {"FunctionName": "f", "Handler": None}).body
        == b'{"FunctionName":"f"}'
    )
    assert serialize_reply(model.operations["CreateFunction"], {}).status == 201


def test_timestamps_are_unix_seconds(model: ServiceModel) -> None:
    operation = model.operations["GetEventSourceMapping"]
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert serialize_reply(operation, {"LastModified": moment}).body == b'{"LastModified":1767225600}'
    assert serialize_reply(operation, {"LastModified": 1767225600.125}).body == b'{"LastModified":1767225600.125}'


@pytest.mark.parametrize("operation", ["DeleteAlias", "DeleteFunctionConcurrency"])
def test_operations_without_output_have_no_body(model: ServiceModel, operation: str) -> None:
    reply = serialize_reply(model.operations[operation], None)
    assert (reply.status, reply.body, reply.headers) == (204, b"", [])


def test_a_handler_may_name_another_status(model: ServiceModel) -> None:
    reply = serialize_reply(model.operations["DeleteFunction"], {"StatusCode": 204})
    assert (reply.status, reply.body) == (204, b"")
