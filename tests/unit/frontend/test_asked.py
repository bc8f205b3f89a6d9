"""Which service a request is for, and how it speaks."""

from __future__ import annotations

from typing import Any

import pytest

from services.frontend.endpoint import asked
from services.frontend.endpoint.api import Api
from services.frontend.endpoint.app import shares_its_signing_name
from services.frontend.forwarding.settings import Endpoints, setting_of
from shared.aws.service_model import load_service_model, service_names
from shared.aws.signatures.signing_names import FOLDERS, folder_of
from shared.domain.errors import ConfigurationError
from shared.settings import Settings

TARGETS = {"DynamoDBStreams_20120810": "dynamodbstreams", "GraniteServiceVersion20100801": "cloudwatch"}


def scope(path: str = "/", query: str = "", **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"raw_path": path.encode(), "query_string": query.encode(), "headers": pairs}


def signed(service: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(
    ("request_scope", "service"),
    [
        (scope("/2015-03-31/functions"), "lambda"),
        (scope(authorization=signed("lambda")), "lambda"),
        (scope(authorization=signed("s3"), host="bucket.localhost:9000"), "s3"),
        (scope(authorization=signed("dynamodb"), x_amz_target="DynamoDB_20120810.ListTables"), "dynamodb"),
        (scope(authorization=signed("dynamodb"), x_amz_target="DynamoDBStreams_20120810.ListStreams"), "dynamodbstreams"),
        (scope("/service/GraniteServiceVersion20100801/operation/PutMetricData", smithy_protocol="rpc-v2-cbor"), "cloudwatch"),
        (scope(query="X-Amz-Credential=AKID%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=x"), "s3"),
        (scope(query="X-Amz-Credential=nonsense"), "lambda"),
        (scope(host="sqs.us-east-1.amazonaws.com"), "sqs"),
        (scope(host="sts.amazonaws.com"), "sts"),
        (scope(host="bucket.with.dots.s3.eu-west-1.amazonaws.com:443"), "s3"),
        (scope(host="s3-eu-west-1.amazonaws.com"), "s3"),
        (scope(host="streams.dynamodb.us-east-1.amazonaws.com"), "dynamodb"),
        (scope(host="127.0.0.1:9000"), "lambda"),
        (scope(authorization="Basic x", host="localhost"), "lambda"),
    ],
)
def test_the_service_is_found(request_scope: dict[str, Any], service: str) -> None:
    assert asked.service_of(request_scope, TARGETS) == service


@pytest.mark.parametrize(
    ("headers", "protocol"),
    [
        ({}, None),
        ({"x_amz_target": "A.B"}, "json"),
        ({"content_type": "application/x-amz-json-1.1"}, "json"),
        ({"content_type": "application/x-www-form-urlencoded; charset=utf-8"}, "query"),
        ({"smithy_protocol": "rpc-v2-cbor", "content_type": "application/cbor"}, "smithy-rpc-v2-cbor"),
        ({"content_type": "application/json"}, None),
    ],
)
def test_the_protocol_is_told_by_headers(headers: dict[str, str], protocol: str | None) -> None:
    assert asked.spoken(scope(**headers)) == protocol


def test_a_service_that_shares_its_name_in_signatures_is_told_by_its_target_alone() -> None:
    assert shares_its_signing_name(Api(load_service_model("dynamodbstreams"), {}))
    assert not shares_its_signing_name(Api(load_service_model("cloudwatch"), {}))


def test_names_in_signatures_are_botocores() -> None:
    names = service_names()
    for name in names:
        assert folder_of(load_service_model(name).signing_name) is not None, name
    for signing_name, folder in FOLDERS.items():
        assert load_service_model(folder).signing_name == signing_name
    assert folder_of("nonsense") is None
    assert folder_of("../lambda") is None


def endpoints(**forward: str) -> Endpoints:
    return Endpoints(Settings(forward=forward))


def test_endpoints_are_found_by_the_names_that_people_and_signatures_use() -> None:
    found = endpoints(cloudwatch="http://a:1", dynamodbstreams="http://b:2", dynamodb="http://c:3/base/", **{"*": "https://d"})
    assert found.of("monitoring") == found.of("cloudwatch")
    assert found.targets == {"DynamoDBStreams_20120810": "dynamodbstreams"}
    dynamodb, others = found.of("dynamodb"), found.of("s3")
    assert dynamodb is not None
    assert others is not None
    assert (dynamodb.authority, dynamodb.base_path, others.scheme, others.authority) == (b"c:3", b"/base", b"https", b"d")
    assert found.names("dynamodb")
    assert not found.names("s3")
    assert endpoints().of("s3") is None


@pytest.mark.parametrize(
    ("service", "url", "complaint"),
    [
        ("s3", "ftp://a", "not of the form"),
        ("s3", "127.0.0.1:9000", "not of the form"),
        ("s3", "http://a:99999", "no URL"),
        ("s3", "http://a?x=y", "not of the form"),
        ("lambda", "http://a", "what is served here"),
        ("nonsense", "http://a", "no such service"),
    ],
)
def test_a_setting_that_cannot_work_says_so(service: str, url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        endpoints(**{service: url})
    assert f"LAMBDAD_FORWARD__{service.upper()}" in str(caught.value)


def test_forwards_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDAD_FORWARD__S3", "http://a:1")
    monkeypatch.setenv("LAMBDAD_FORWARD__*", "http://b:2")
    monkeypatch.setenv("LAMBDAD_FORWARD_SIGN__S3__ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("LAMBDAD_FORWARD_SIGN__S3__SECRET_ACCESS_KEY", "secret")
    found = Endpoints(Settings())
    s3, others = found.of("s3"), found.of("sqs")
    assert s3 is not None
    assert s3.signing is not None
    assert (s3.url, s3.signing.access_key_id, s3.signing.secret_access_key) == ("http://a:1", "AKID", "secret")
    assert others is not None
    assert others.signing is None
    monkeypatch.delenv("LAMBDAD_FORWARD__S3")
    with pytest.raises(ConfigurationError, match="LAMBDAD_FORWARD_SIGN__S3"):
        Endpoints(Settings())


@pytest.mark.parametrize("variable", ["LAMBDAD_FORWARD__COGNITO_IDP", "LAMBDAD_FORWARD__COGNITO-IDP"])
def test_a_service_with_a_dash_in_its_name_is_named_as_a_shell_can(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert setting_of("cognito-idp") == "LAMBDAD_FORWARD__COGNITO_IDP"
    monkeypatch.setenv(variable, "http://a:1")
    monkeypatch.setenv(variable.replace("FORWARD", "FORWARD_SIGN") + "__ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv(variable.replace("FORWARD", "FORWARD_SIGN") + "__SECRET_ACCESS_KEY", "secret")
    found = Endpoints(Settings())
    assert found.names("cognito-idp")
    assert found.of("cognito-idp").signing is not None  # type: ignore[union-attr]
