"""A frontend that starts says so in words that each client reads, so that it tries again."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser

from services.frontend.app import FrontendApp
from services.frontend.edge.request_ids import RequestIds

FORM, JSON = b"application/x-www-form-urlencoded; charset=utf-8", b"application/x-amz-json-1.0"


async def answered(service: str, content_type: bytes | None, target: bytes | None) -> tuple[int, dict[str, str], bytes]:
    credential = f"AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    headers = [(b"host", b"127.0.0.1:9000"), (b"authorization", credential.encode())]
    headers += [(name, value) for name, value in ((b"content-type", content_type), (b"x-amz-target", target)) if value]
    scope: Any = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers,
    }  # fmt: skip
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    native: Any = None
    await FrontendApp(native, RequestIds())(scope, receive, send)
    head = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], head, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize(
    ("service", "protocol", "content_type", "target"),
    [
        ("sns", "query", FORM, None),
        ("sqs", "query", FORM, None),
        ("sts", "query", FORM, None),
        ("sqs", "json", JSON, b"AmazonSQS.SendMessage"),
        ("events", "json", JSON, b"AWSEvents.PutEvents"),
        ("scheduler", "rest-json", None, None),
        ("s3", "rest-xml", None, None),
        ("lambda", "rest-json", None, None),
    ],
)
async def test_a_frontend_that_starts_is_understood(
    service: str, protocol: str, content_type: bytes | None, target: bytes | None
) -> None:
    status, headers, body = await answered(service, content_type, target)
    model = ServiceModel(Loader().load_service_model(service, "service-2"))
    shape = model.operation_model(model.operation_names[0]).output_shape
    parsed = create_parser(protocol).parse({"status_code": status, "headers": headers, "body": body}, shape)
    assert status == 503
    assert parsed["Error"]["Message"] == "The cluster is starting. Try again."
