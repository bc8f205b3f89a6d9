"""One endpoint for every region: the one that a signature names is where the request is for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from services.frontend.endpoint.api import Call
from tests.integration.frontend.conftest import ELSEWHERE, HOME, KEY, SECRET, SESSION, Frontend

THERE = f"arn:aws:lambda:{ELSEWHERE}:{HOME.account_id}:function:f"


async def ask(frontend: Frontend, region: str, operation: str = "invoke", **arguments: Any) -> dict[str, Any]:
    method = getattr(frontend.client(region=region), operation)
    found: dict[str, Any] = await asyncio.to_thread(method, **{"FunctionName": "f", **arguments})
    return found


@pytest.mark.parametrize("name", ["f", "000000000000:function:f", THERE])
async def test_a_function_is_invoked_in_the_region_that_the_request_is_signed_for(frontend: Frontend, name: str) -> None:
    assert (await ask(frontend, ELSEWHERE, FunctionName=name))["StatusCode"] == 200
    assert (await ask(frontend, HOME.region))["StatusCode"] == 200
    assert [one[0] for one in frontend.backend.invocations] == [THERE, "f"]


async def test_an_event_is_for_the_region_that_it_came_to(frontend: Frontend) -> None:
    for region in (ELSEWHERE, HOME.region):
        await ask(frontend, region, InvocationType="Event")
    assert [(event.function_name, event.region) for event in frontend.backend.events] == [
        ("f", ELSEWHERE),
        ("f", HOME.region),
    ]


async def test_what_is_not_there_is_told_by_the_arn_of_its_region(frontend: Frontend) -> None:
    with pytest.raises(ClientError) as caught:
        await ask(frontend, ELSEWHERE, FunctionName="no-f")
    there = f"arn:aws:lambda:{ELSEWHERE}:{HOME.account_id}:function:no-f"
    assert caught.value.response["Error"]["Message"] == f"Function not found: {there}:$LATEST"


@pytest.mark.parametrize(
    ("signed", "named"), [(HOME.region, ELSEWHERE), (ELSEWHERE, HOME.region), (HOME.region, "us-gov-east-1")]
)
async def test_an_arn_of_another_region_is_out_of_reach(frontend: Frontend, signed: str, named: str) -> None:
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            await ask(frontend, signed, FunctionName=THERE.replace(ELSEWHERE, named))
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        assert caught.value.response["Error"] == {
            "Code": "ResourceNotFoundException",
            "Message": f"Functions from '{named}' are not reachable in this region ('{signed}')",
        }
    assert frontend.backend.invocations == []


async def test_a_region_that_is_not_served_is_refused(frontend: Frontend) -> None:
    for operation in ("invoke", "get_function"):
        with pytest.raises(ClientError) as caught:
            await ask(frontend, "eu-central-1", operation)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"
        assert "Credential should be scoped to a valid region, not 'eu-central-1'" in caught.value.response["Error"]["Message"]
    assert frontend.backend.invocations == []


async def test_a_handler_is_told_where_the_request_is_for(frontend: Frontend) -> None:
    asked: list[str] = []

    async def get_function(call: Call, _: Any) -> dict[str, Any]:
        asked.append(call.home.region)
        return {}

    frontend.operations["GetFunction"] = get_function
    for region in (HOME.region, ELSEWHERE):
        await ask(frontend, region, "get_function")
    assert asked == [HOME.region, ELSEWHERE]


async def test_sts_answers_in_every_region(frontend: Frontend) -> None:
    for region in (HOME.region, ELSEWHERE):
        sts = SESSION.client(
            "sts",
            endpoint_url=frontend.url,
            region_name=region,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        assert (await asyncio.to_thread(sts.get_caller_identity))["Account"] == HOME.account_id


async def test_a_presigned_link_is_for_the_region_that_it_was_signed_for(frontend: Frontend) -> None:
    request = AWSRequest("POST", f"{frontend.url}/2015-03-31/functions/f/invocations", data=b"")
    SigV4QueryAuth(Credentials(KEY, SECRET), "lambda", ELSEWHERE, expires=60).add_auth(request)
    assert request.url is not None
    target = request.url.removeprefix(frontend.url).encode()
    host = frontend.url.removeprefix("http://").encode()
    answer = await frontend.send(
        b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % (target, host)
    )
    assert b"HTTP/1.1 200" in answer
    assert frontend.backend.invocations[0][0] == THERE


async def test_without_signatures_the_region_is_still_the_one_that_clients_name(open_frontend: Frontend) -> None:
    for region in (ELSEWHERE, HOME.region, "eu-central-1"):
        assert (await ask(open_frontend, region))["StatusCode"] == 200
    answer = await open_frontend.send(
        b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    assert b"HTTP/1.1 200" in answer
    # One that is not served, and none at all: the default one.
    assert [one[0] for one in open_frontend.backend.invocations] == [THERE, "f", "f", "f"]
