from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from shared.domain.errors import (
    DispatchUnavailableError,
    InvalidRuntimeException,
    InvalidZipFileException,
    InvocationLostError,
    NoCapacityError,
    NotStartedError,
    ServiceException,
    TooManyRequestsException,
)
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.limits import ASYNC_PAYLOAD_BYTES_MAX, OLD_ASYNC_PAYLOAD_BYTES_MAX, SYNC_PAYLOAD_BYTES_MAX
from tests.integration.frontend.conftest import Frontend

REQUEST_ID = re.compile(r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}")


async def invoke(frontend: Frontend, **arguments: Any) -> dict[str, Any]:
    def call() -> dict[str, Any]:
        answer: dict[str, Any] = frontend.client().invoke(**{"FunctionName": "f", **arguments})
        answer["Payload"] = answer["Payload"].read()
        return answer

    return await asyncio.to_thread(call)


async def refused(frontend: Frontend, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as raised:
        await invoke(frontend, **arguments)
    found: dict[str, Any] = raised.value.response
    return found


async def test_a_synchronous_invoke_answers_with_the_functions_result(frontend: Frontend) -> None:
    answer = await invoke(frontend, Payload=b'{"a": [1, "\xc3\xa9"]}')
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert answer["Payload"] == b'{"a": [1, "\xc3\xa9"]}'
    assert "FunctionError" not in answer
    assert "LogResult" not in answer
    (name, qualifier, invocation) = frontend.backend.invocations[0]
    assert (name, qualifier) == ("f", None)
    assert answer["ResponseMetadata"]["RequestId"] == invocation.request_id
    assert REQUEST_ID.fullmatch(invocation.request_id)


async def test_no_payload_is_an_empty_object(frontend: Frontend) -> None:
    assert (await invoke(frontend))["Payload"] == b"{}"


@pytest.mark.parametrize("payload", [b"true", b"null", b"123", b"[]", b'"\xf0\x9f\x98\x80"', b" 1 "])
async def test_an_event_is_any_json(frontend: Frontend, payload: bytes) -> None:
    assert (await invoke(frontend, Payload=payload))["Payload"] == payload


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("f", {}, ("f", None)),
        ("f", {"Qualifier": "1"}, ("f", "1")),
        ("f:live", {}, ("f", "live")),
        ("f", {"Qualifier": "$LATEST"}, ("f", "$LATEST")),
        ("000000000000:function:f", {}, ("f", None)),
        ("arn:aws:lambda:us-east-1:000000000000:function:f", {}, ("f", None)),
        ("arn:aws:lambda:us-east-1:000000000000:function:f:live", {"Qualifier": "live"}, ("f", "live")),
    ],
)
async def test_a_function_can_be_named_in_every_form(
    frontend: Frontend, name: str, arguments: dict[str, str], expected: tuple[str, str | None]
) -> None:
    await invoke(frontend, FunctionName=name, **arguments)
    assert frontend.backend.invocations[0][:2] == expected


@pytest.mark.parametrize(
    ("arguments", "status", "code", "text"),
    [
        (
            {"FunctionName": "no-f"},
            404,
            "ResourceNotFoundException",
            "Function not found: arn:aws:lambda:us-east-1:000000000000:function:no-f:$LATEST",
        ),
        (
            {"FunctionName": "arn:aws:lambda:eu-west-1:000000000000:function:f"},
            404,
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        ),
        ({"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f"}, 403, "AccessDeniedException", None),
        (
            {"FunctionName": "f:1", "Qualifier": "2"},
            400,
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
        (
            {"FunctionName": "arn:aws:lambda:us-east-1:123400000000@function:myfn"},
            400,
            "ValidationException",
            "1 validation error detected: Value 'arn:aws:lambda:us-east-1:123400000000@function:myfn' at 'functionName' failed to "
            "satisfy constraint: Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}"
            "((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|"
            "[a-zA-Z0-9-_]+))?",
        ),
        (
            {"InvocationType": "Later"},
            400,
            "ValidationException",
            "1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
        ),
        (
            {"LogType": "All"},
            400,
            "ValidationException",
            "1 validation error detected: Value 'All' at 'logType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [None, Tail]",
        ),
    ],
)
async def test_bad_parameters_get_awss_errors(
    frontend: Frontend, arguments: dict[str, str], status: int, code: str, text: str | None
) -> None:
    found = await refused(frontend, **arguments)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == status
    assert found["Error"]["Code"] == code
    assert found["Error"].get("Message") == text
    assert REQUEST_ID.fullmatch(found["ResponseMetadata"]["RequestId"])
    assert frontend.backend.invocations == []


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"TenantId": "t"}, "Remove the tenant ID from your request"),
        ({"DurableExecutionName": "d"}, "Durable executions are not available here"),
    ],
)
async def test_what_no_function_here_has_is_refused_and_nothing_runs(
    frontend: Frontend, asked: dict[str, str], text: str
) -> None:
    answer = await refused(frontend, **asked)
    assert answer["Error"]["Code"] == "InvalidParameterValueException"
    assert text in answer["Error"]["Message"]
    assert not frontend.backend.invocations


async def test_the_log_tail_comes_when_it_is_asked_for(frontend: Frontend) -> None:
    answer = await invoke(frontend, LogType="Tail")
    assert base64.b64decode(answer["LogResult"]) == b"START\nEND\n"
    assert frontend.backend.invocations[0][2].log_tail


async def test_a_functions_error_is_a_200_with_a_header(frontend: Frontend) -> None:
    async def fail(invocation: Invocation) -> InvocationResult:
        return InvocationResult(payload=b'{"errorMessage":"no"}', executed_version="7", function_error="Unhandled")

    frontend.backend.behave = fail
    answer = await invoke(frontend)
    assert (answer["StatusCode"], answer["FunctionError"], answer["ExecutedVersion"]) == (200, "Unhandled", "7")


async def test_the_client_context_reaches_the_invocation_decoded(frontend: Frontend) -> None:
    context = json.dumps({"custom": {"a": "b"}})
    await invoke(frontend, ClientContext=base64.b64encode(context.encode()).decode())
    assert frontend.backend.invocations[0][2].client_context == context


@pytest.mark.parametrize("context", ["not base64!", base64.b64encode(b"not json").decode(), "A" * 3584])
async def test_a_bad_client_context_is_refused(frontend: Frontend, context: str) -> None:
    found = await refused(frontend, ClientContext=context)
    assert found["Error"]["Code"] == "InvalidRequestContentException"


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"value", "Unrecognized token 'value': was expecting"),
        (b'{"a": tru}', "Unrecognized token 'tru'"),
        (b'{"a":', "Unexpected end-of-input"),
        (b"{'a': 1}", "Unexpected character (''' (code 39))"),
        (b'"\xff"', "Invalid UTF-8 start byte 0xff"),
        (b"{} {}", "Unexpected character"),
        (b"[" * 100_000, "nesting depth"),
    ],
)
@pytest.mark.parametrize("kind", ["RequestResponse", "Event"])
async def test_what_is_not_json_never_runs(frontend: Frontend, payload: bytes, text: str, kind: str) -> None:
    found = await refused(frontend, Payload=payload, InvocationType=kind)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert found["Error"]["Code"] == "InvalidRequestContentException"
    assert found["Error"]["Message"].startswith("Could not parse request body into json: ")
    assert text in found["Error"]["Message"]
    assert (frontend.backend.invocations, frontend.backend.events) == ([], [])


async def test_six_mebibytes_fit_and_one_byte_more_does_not(frontend: Frontend) -> None:
    fits = b'"' + b"a" * (SYNC_PAYLOAD_BYTES_MAX - 2) + b'"'
    assert (await invoke(frontend, Payload=fits))["Payload"] == fits
    found = await refused(frontend, Payload=fits + b" ")
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert found["Error"]["Code"] == "RequestEntityTooLargeException"
    assert found["Error"]["Message"] == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"


async def test_an_event_is_answered_once_it_is_queued(frontend: Frontend) -> None:
    answer = await invoke(frontend, InvocationType="Event", Payload=b'{"n": 1}', Qualifier="live")
    assert (answer["StatusCode"], answer["Payload"]) == (202, b"")
    assert "ExecutedVersion" not in answer
    (event,) = frontend.backend.events
    assert (event.function_name, event.qualifier, event.payload) == ("f", "live", b'{"n": 1}')
    assert event.event_id == answer["ResponseMetadata"]["RequestId"]
    assert frontend.backend.invocations == []


@pytest.mark.covers("events", "async-payload-size")
async def test_one_mebibyte_of_event_fits_and_one_byte_more_does_not(frontend: Frontend) -> None:
    fits = b'"' + b"a" * (ASYNC_PAYLOAD_BYTES_MAX - 2) + b'"'
    assert (await invoke(frontend, Payload=fits, InvocationType="Event"))["StatusCode"] == 202
    found = await refused(frontend, Payload=fits + b" ", InvocationType="Event")
    assert (found["ResponseMetadata"]["HTTPStatusCode"], found["Error"]["Code"]) == (413, "RequestTooLargeException")
    assert found["Error"]["Message"] == (
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    )


@pytest.mark.covers("events", "async-payload-size")
async def test_the_old_asynchronous_call_queues_too(frontend: Frontend) -> None:
    answer = await asyncio.to_thread(frontend.client().invoke_async, FunctionName="f", InvokeArgs=b"[1]")
    assert answer["Status"] == 202
    assert frontend.backend.events[0].payload == b"[1]"
    fits = b'"' + b"a" * (OLD_ASYNC_PAYLOAD_BYTES_MAX - 2) + b'"'
    assert (await asyncio.to_thread(frontend.client().invoke_async, FunctionName="f", InvokeArgs=fits))["Status"] == 202
    with pytest.raises(ClientError) as raised:
        await asyncio.to_thread(frontend.client().invoke_async, FunctionName="f", InvokeArgs=fits + b" ")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


async def test_the_old_asynchronous_call_passes_no_trace_header_on(frontend: Frontend) -> None:
    client = frontend.client()
    for operation in ("InvokeAsync", "Invoke"):
        client.meta.events.register(
            f"before-sign.lambda.{operation}", lambda request, **_: request.headers.add_header("X-Amzn-Trace-Id", "Root=1-2-3")
        )
    await asyncio.to_thread(client.invoke_async, FunctionName="f", InvokeArgs=b"[1]")
    await asyncio.to_thread(client.invoke, FunctionName="f", InvocationType="Event")
    assert [event.trace for event in frontend.backend.events] == [None, "Root=1-2-3"]


async def test_an_event_for_nothing_is_not_queued(frontend: Frontend) -> None:
    assert (await refused(frontend, FunctionName="no-f", InvocationType="Event"))["Error"][
        "Code"
    ] == "ResourceNotFoundException"
    assert frontend.backend.events == []


async def test_a_dry_run_checks_and_runs_nothing(frontend: Frontend) -> None:
    assert (await invoke(frontend, InvocationType="DryRun"))["StatusCode"] == 204
    assert (await refused(frontend, FunctionName="no-f", InvocationType="DryRun"))["Error"][
        "Code"
    ] == "ResourceNotFoundException"
    assert (frontend.backend.invocations, frontend.backend.events) == ([], [])


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
async def test_a_pending_function_is_a_conflict(frontend: Frontend, kind: str) -> None:
    frontend.backend.state = "Pending"
    found = await refused(frontend, InvocationType=kind)
    assert (found["ResponseMetadata"]["HTTPStatusCode"], found["Error"]["Code"]) == (409, "ResourceConflictException")
    assert found["Error"]["Message"] == (
        "The operation cannot be performed at this time. The function is currently in the following state: Pending"
    )


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded"), 429, "TooManyRequestsException"),
        (NoCapacityError(), 429, "TooManyRequestsException"),
        (DispatchUnavailableError(), 500, "ServiceException"),
        (InvocationLostError(), 500, "ServiceException"),
        (NotStartedError("a secret detail"), 500, "ServiceException"),
        (InvalidZipFileException("'../x' leaves the package"), 502, "InvalidZipFileException"),
        (InvalidRuntimeException("No worker of this cluster has the runtime java21."), 502, "InvalidRuntimeException"),
        (ServiceException("x"), 500, "ServiceException"),
        (RuntimeError("a secret detail"), 500, "ServiceException"),
    ],
)
async def test_failures_of_the_platform_are_answered_in_awss_terms(
    frontend: Frontend, error: Exception, status: int, code: str
) -> None:
    async def fail(invocation: Invocation) -> InvocationResult:
        raise error

    frontend.backend.behave = fail
    found = await refused(frontend)
    assert (found["ResponseMetadata"]["HTTPStatusCode"], found["Error"]["Code"]) == (status, code)
    assert "secret" not in str(found)
    assert ("no worker can be reached" in found["Error"]["Message"]) == isinstance(error, DispatchUnavailableError)
    if status == 429:
        assert found["Reason"]
        assert found["Type"] == "User"


async def test_a_slow_function_is_not_cut_by_the_deadlines_of_requests(open_frontend: Frontend) -> None:
    async def slow(invocation: Invocation) -> InvocationResult:
        await asyncio.sleep(2.2)
        return InvocationResult(payload=b"1", executed_version="$LATEST")

    open_frontend.backend.behave = slow
    raw = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    assert (await open_frontend.send(raw)).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Content-Type: text/html", b"415"),
        (b"Content-Type: application/json; charset=utf-8", b"200"),
        (b"Content-Type: application/octet-stream", b"200"),
        (b"x-amzn-RequestId: not-a-uuid", b"400"),
        (b"X-Amzn-Trace-Id: " + b"t" * 4_096, b"200"),
        (b"X-Amzn-Trace-Id: " + b"\xfc" * 4_097, b"400"),
        (b"X-Amzn-Invocation-Type: Event\r\nX-Amzn-Trace-Id: " + b"t" * 4_097, b"400"),
        (b"x-amzn-RequestId: 12345678-1234-1234-1234-123456789012", b"200"),
    ],
)
async def test_request_headers_are_looked_at(open_frontend: Frontend, header: bytes, status: bytes) -> None:
    raw = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n%b\r\n\r\n{}"
    assert (await open_frontend.send(raw % header)).startswith(b"HTTP/1.1 " + status)
