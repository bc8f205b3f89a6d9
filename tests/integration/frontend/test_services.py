"""One endpoint, many services: who answers, and what a client of a service that nobody serves is told, in its own protocol."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from shared.aws.signatures import session_tokens
from tests.integration.frontend.conftest import CLUSTER_SECRET, KEY, SECRET, SESSION, Frontend

ACCOUNT = "000000000000"


def client(frontend: Frontend, service: str, *, key: str = KEY, secret: str = SECRET, **settings: Any) -> Any:
    return SESSION.client(
        service,
        endpoint_url=frontend.url,
        region_name=settings.pop("region_name", "us-east-1"),
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False, read_timeout=20, **settings),
    )


async def refused(call: Any, **params: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(call, **params)
    return dict(caught.value.response)


async def test_the_root_key_is_told_who_it_is(frontend: Frontend) -> None:
    found = await asyncio.to_thread(client(frontend, "sts").get_caller_identity)
    assert (found["Account"], found["UserId"], found["Arn"]) == (ACCOUNT, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
    assert found["ResponseMetadata"]["RequestId"]
    assert found["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "text/xml"


async def test_a_key_that_is_unknown_or_signs_wrongly_is_told_so_in_the_query_protocols_words(frontend: Frontend) -> None:
    found = await refused(client(frontend, "sts", key="AKIASTRANGER").get_caller_identity)
    assert found["Error"] == {
        "Type": "Sender",
        "Code": "InvalidClientTokenId",
        "Message": "The security token included in the request is invalid.",
    }
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 403
    found = await refused(client(frontend, "sts", secret="wrong").get_caller_identity)
    assert found["Error"]["Code"] == "SignatureDoesNotMatch"
    assert found["Error"]["Message"].startswith("The request signature we calculated does not match")
    found = await refused(client(frontend, "sts", region_name="mars-north-1").get_caller_identity)
    assert "scoped to a valid region" in found["Error"]["Message"]


async def test_an_operation_that_is_not_there_yet_says_its_name(frontend: Frontend) -> None:
    found = await refused(client(frontend, "sts").get_session_token)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert found["Error"]["Message"] == "The operation GetSessionToken is not implemented yet."


@pytest.mark.parametrize(
    ("form", "code", "message"),
    [
        ({"Version": "2011-06-15"}, "MissingAction", "Missing Action"),
        (
            {"Action": "Nonsense", "Version": "2011-06-15"},
            "InvalidAction",
            "Could not find operation Nonsense for version 2011-06-15",
        ),
        (
            {"Action": "GetCallerIdentity", "Version": "2010-01-01"},
            "InvalidAction",
            "Could not find operation GetCallerIdentity for version 2010-01-01",
        ),
    ],
)
async def test_an_action_that_is_missing_or_unknown_is_told(
    open_frontend: Frontend, form: dict[str, str], code: str, message: str
) -> None:
    answer = await posted(open_frontend, form)
    assert b"HTTP/1.1 400" in answer
    assert f"<Code>{code}</Code><Message>{message}</Message>".encode() in answer
    assert b"<Type>Sender</Type>" in answer
    assert b"</Error><RequestId>" in answer


async def test_a_form_in_a_get_is_read_too(open_frontend: Frontend) -> None:
    answer = await open_frontend.send(
        b"GET /?Action=GetCallerIdentity&Version=2011-06-15 HTTP/1.1\r\nhost: sts.amazonaws.com.localhost\r\n"
        b"authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/sts/aws4_request\r\nconnection: close\r\n\r\n"
    )
    assert b"<GetCallerIdentityResult>" in answer
    assert f"<Account>{ACCOUNT}</Account>".encode() in answer


async def posted(frontend: Frontend, form: dict[str, str], service: str = "sts") -> bytes:
    body = urlencode(form).encode()
    return await frontend.send(
        b"POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n"
        b"authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/%b/aws4_request\r\ncontent-length: %d\r\n\r\n%b"
        % (service.encode(), len(body), body)
    )


NOBODY = [
    ("s3", "list_buckets", "s3"),
    ("dynamodb", "list_tables", "dynamodb"),
    ("dynamodbstreams", "list_streams", "dynamodb"),
    ("sqs", "list_queues", "sqs"),
    ("sns", "list_topics", "sns"),
    ("ec2", "describe_vpcs", "ec2"),
    ("iam", "list_users", "iam"),
    ("cloudwatch", "list_metrics", "monitoring"),
    ("kinesis", "list_streams", "kinesis"),
    ("scheduler", "list_schedules", "scheduler"),
    ("stepfunctions", "list_state_machines", "states"),
    ("route53", "list_hosted_zones", "route53"),
    ("mwaa-serverless", "list_workflows", "airflow-serverless"),
]


@pytest.mark.parametrize(("service", "method", "name"), NOBODY, ids=lambda value: value)
async def test_a_service_that_nobody_serves_is_one_clear_error_in_its_own_protocol(
    frontend: Frontend, service: str, method: str, name: str
) -> None:
    found = await refused(getattr(client(frontend, service), method))
    assert found["Error"]["Message"] == (
        f"{name} is not served by this cluster. Set LAMBDAD_FORWARD__{name.upper().replace('-', '_')}=http://... "
        f"(lambdad up --forward {name}=URL) to forward it."
    )
    assert found["Error"]["Code"] == "NotImplemented"
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 501


async def test_a_signature_for_something_that_is_no_service_is_told_what_it_should_be_for(frontend: Frontend) -> None:
    answer = await frontend.send(
        b"GET /2015-03-31/functions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-amz-date: %b\r\n"
        b"authorization: AWS4-HMAC-SHA256 Credential=%b/%b/us-east-1/nonsense/aws4_request, SignedHeaders=host;x-amz-date, "
        b"Signature=0\r\n\r\n"
        % (
            time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()).encode(),
            KEY.encode(),
            time.strftime("%Y%m%d", time.gmtime()).encode(),
        )
    )
    assert b"Credential should be scoped to correct service: 'lambda'" in answer


async def test_a_function_is_told_the_role_session_that_it_runs_as(frontend: Frontend) -> None:
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/function"
    issued = session_tokens.issue(CLUSTER_SECRET, arn, int(time.time()) + 60)
    sts = SESSION.client(
        "sts",
        endpoint_url=frontend.url,
        region_name="us-east-1",
        aws_access_key_id=issued.access_key_id,
        aws_secret_access_key=issued.secret_access_key,
        aws_session_token=issued.session_token,
    )
    found = await asyncio.to_thread(sts.get_caller_identity)
    assert (found["Arn"], found["Account"]) == (arn, ACCOUNT)
    role_id, _, session = found["UserId"].partition(":")
    assert (role_id[:4], len(role_id), session) == ("AROA", 21, "function")
