from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from services.frontend.main import check_access, listen
from shared.domain.errors import ConfigurationError, ResourceNotFoundException
from shared.settings import FrontendSettings
from tests.integration.frontend.conftest import KEY, Frontend
from tests.support import PATIENCE_S

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


async def call(frontend: Frontend, operation: str, client: Any = None, **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = await asyncio.to_thread(getattr(client or frontend.client(), operation), **arguments)
    return found


async def refused(frontend: Frontend, operation: str, client: Any = None, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as raised:
        await call(frontend, operation, client, **arguments)
    found: dict[str, Any] = raised.value.response
    return found


async def test_an_operation_is_parsed_run_and_answered_by_the_model(frontend: Frontend) -> None:
    seen: list[Mapping[str, Any]] = []

    async def create(context: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        seen.append(request)
        return {"FunctionName": request["FunctionName"], "CodeSize": len(request["Code"]["ZipFile"]), "Handler": None}

    frontend.operations["CreateFunction"] = create
    answer = await call(
        frontend,
        "create_function",
        FunctionName="f",
        Role="arn:aws:iam::000000000000:role/r",
        Code={"ZipFile": b"x" * 3_000_000},
    )
    assert (answer["FunctionName"], answer["CodeSize"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("f", 3_000_000, 201)
    assert "Handler" not in answer
    assert seen[0]["Code"]["ZipFile"] == b"x" * 3_000_000


async def test_arns_in_paths_reach_the_handler_decoded(frontend: Frontend) -> None:
    async def get(context: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"Configuration": {"FunctionName": request["FunctionName"], "Version": request["Qualifier"]}}

    frontend.operations["GetFunction"] = get
    answer = await call(frontend, "get_function", FunctionName=ARN + ":x", Qualifier="$LATEST")
    assert answer["Configuration"] == {"FunctionName": ARN + ":x", "Version": "$LATEST"}


async def test_a_handlers_error_is_rendered_as_awss(frontend: Frontend) -> None:
    async def get(context: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        raise ResourceNotFoundException(f"Function not found: {ARN}")

    frontend.operations["GetFunction"] = get
    found = await refused(frontend, "get_function", FunctionName="f")
    assert found["Error"] == {"Code": "ResourceNotFoundException", "Message": f"Function not found: {ARN}"}
    assert found["Type"] == "User"
    assert found["ResponseMetadata"]["HTTPHeaders"]["x-amzn-errortype"] == "ResourceNotFoundException"


async def test_a_handler_that_breaks_tells_no_details(frontend: Frontend) -> None:
    async def get(context: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        raise KeyError("a secret detail")

    frontend.operations["GetFunction"] = get
    found = await refused(frontend, "get_function", FunctionName="f")
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "secret" not in str(found)


async def test_an_operation_that_comes_later_says_its_name(frontend: Frontend) -> None:
    found = await refused(frontend, "get_account_settings")
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert found["Error"]["Message"] == "The operation GetAccountSettings is not implemented yet."


async def test_a_violation_never_reaches_the_handler(frontend: Frontend) -> None:
    async def never(context: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        raise AssertionError

    frontend.operations["ListFunctions"] = never
    found = await refused(frontend, "list_functions", FunctionVersion="invalid", MaxItems=0)
    assert found["Error"]["Code"] == "ValidationException"
    assert found["Error"]["Message"].startswith("2 validation errors detected: ")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/docs"), ("PATCH", "/2015-03-31/functions/f"), ("TRACE", "/x"), ("GET", "/a%2Fb")],
)
async def test_a_path_or_method_of_no_operation_is_denied_as_by_aws(open_frontend: Frontend, method: str, path: str) -> None:
    answer = await open_frontend.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"x-amzn-errortype: AccessDeniedException" in answer
    assert b"Unable to determine service/operation name to be authorized" in answer


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"FunctionName": 5}', b"null"])
async def test_malformed_bodies_are_answered_and_never_a_500(open_frontend: Frontend, body: bytes) -> None:
    async def never(context: Any, request: Mapping[str, Any]) -> dict[str, Any]:
        raise AssertionError

    open_frontend.operations["CreateFunction"] = never
    raw = (
        b"POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    assert (await open_frontend.send(raw)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("operation", ["invoke", "get_function", "list_functions"])
async def test_every_request_is_verified(frontend: Frontend, operation: str) -> None:
    arguments = {} if operation == "list_functions" else {"FunctionName": "f"}
    wrong = await refused(frontend, operation, frontend.client(secret="wrong"), **arguments)
    assert (wrong["ResponseMetadata"]["HTTPStatusCode"], wrong["Error"]["Code"]) == (403, "InvalidSignatureException")
    unknown = await refused(frontend, operation, frontend.client(key="AKIDOTHER"), **arguments)
    assert (unknown["ResponseMetadata"]["HTTPStatusCode"], unknown["Error"]["Code"]) == (403, "UnrecognizedClientException")
    assert frontend.backend.invocations == []


@pytest.mark.parametrize("path", ["/2015-03-31/functions", "/2015-03-31/functions/f/invocations", "/", "/nothing"])
async def test_an_unsigned_request_gets_awss_403_whatever_its_path(frontend: Frontend, path: str) -> None:
    answer = await frontend.send(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"x-amzn-errortype: MissingAuthenticationTokenException" in answer
    assert answer.endswith(b'{"message":"Missing Authentication Token"}')


async def test_an_unsigned_body_is_not_waited_for(frontend: Frontend) -> None:
    raw = b"POST /2015-03-31/functions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", frontend.port)
    writer.write(raw)
    async with asyncio.timeout(PATIENCE_S):
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
    writer.close()


@pytest.mark.parametrize(("path", "status"), [("health", b"200"), ("ready", b"200"), ("metrics", b"200"), ("nothing", b"404")])
async def test_probes_need_no_signature(frontend: Frontend, path: str, status: bytes) -> None:
    answer = await frontend.send(f"GET /_lambdad/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 " + status)


def test_signatures_may_be_off_on_loopback_alone() -> None:
    assert check_access(FrontendSettings(auth=False, host="127.0.0.1")) is None
    for host in ("0.0.0.0", "192.0.2.1", "example.com"):
        with pytest.raises(ConfigurationError, match="authentication is off"):
            check_access(FrontendSettings(auth=False, host=host))


def test_signatures_need_a_root_key() -> None:
    with pytest.raises(ConfigurationError, match="no root key"):
        check_access(FrontendSettings(root_access_key_id=KEY))


def test_a_taken_port_is_said_plainly() -> None:
    first = listen(FrontendSettings(port=0))
    with pytest.raises(ConfigurationError, match="cannot listen on"):
        listen(FrontendSettings(port=first.getsockname()[1]))
    first.close()


@pytest.mark.parametrize("header", [b"Origin: http://evil.example", b"Sec-Fetch-Site: cross-site"])
async def test_a_web_page_cannot_use_an_endpoint_without_signatures(open_frontend: Frontend, header: bytes) -> None:
    raw = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n%b\r\n\r\n{}"
    assert (await open_frontend.send(raw % header)).startswith(b"HTTP/1.1 403")
    assert open_frontend.backend.invocations == []


@pytest.mark.parametrize(("host", "status"), [(b"evil.example", b"403"), (b"127.0.0.1:9000", b"200"), (b"[::1]:1", b"200")])
async def test_a_name_that_was_rebound_to_loopback_is_refused(open_frontend: Frontend, host: bytes, status: bytes) -> None:
    raw = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: %b\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    assert (await open_frontend.send(raw % host)).startswith(b"HTTP/1.1 " + status)
