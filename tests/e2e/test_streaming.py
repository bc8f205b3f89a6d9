"""Responses that reach the client while the function writes them."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.e2e.conftest import MakeFunction
from tests.support import NODE, wait_until

STREAMING = """
const wait = ms => new Promise(resolve => setTimeout(resolve, ms));
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.early) throw new Error("early");
  for (let i = 0; i < (event.count ?? 3); i++) {
    await new Promise(resolve => stream.write(Buffer.alloc(event.size ?? 4, 97 + i % 26), resolve));
    if (event.gap) await wait(event.gap);
  }
  console.log("written");
  if (event.late) throw new TypeError("late");
  stream.end();
});
"""
ANSWERS = """
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.rawPath === "/bad") {
    stream.setContentType("application/vnd.awslambda.http-integration-response");
    stream.write("no prelude at all");
  } else if (event.rawPath === "/plain") {
    stream.write("plain");
  } else {
    const metadata = { statusCode: 418, headers: { "Content-Type": "text/plain", "X-Mine": "yes" }, cookies: ["a=b"] };
    stream = awslambda.HttpResponseStream.from(stream, metadata);
    stream.write("tea");
    await new Promise(resolve => setTimeout(resolve, 50));
    if (event.rawPath === "/broken") throw new Error("broken");
    stream.write("pot");
  }
  stream.end();
});
"""


class Streamed:
    """What a client got of one call: (seconds since the call, bytes) of each chunk, and the last event."""

    def __init__(self, client: Any, name: str, event: object, **parameters: Any) -> None:
        began = time.monotonic()
        answer = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **parameters)
        self.version = answer["ExecutedVersion"]
        self.content_type = answer["ResponseStreamContentType"]
        self.chunks: list[tuple[float, bytes]] = []
        self.complete: dict[str, str] = {}
        for message in answer["EventStream"]:
            if "PayloadChunk" in message:
                self.chunks.append((time.monotonic() - began, message["PayloadChunk"]["Payload"]))
            else:
                self.complete = message["InvokeComplete"]

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.chunks)


needs_node = pytest.mark.needs(NODE)
"""Of the managed runtimes, Node.js alone writes streams."""


@pytest.fixture
def streaming(make_function: MakeFunction) -> str:
    return make_function(STREAMING, runtime=NODE, Timeout=20, MemorySize=1769)


@needs_node
def test_pieces_arrive_while_the_function_still_writes(client: Any, streaming: str) -> None:
    Streamed(client, streaming, {})
    got = Streamed(client, streaming, {"gap": 300}, LogType="Tail")
    assert got.version == "$LATEST"
    assert got.content_type == "application/vnd.amazon.eventstream"
    assert got.body == b"aaaabbbbcccc"
    assert got.chunks[-1][0] - got.chunks[0][0] > 0.4, "all of it came at the end"
    assert b"written" in base64.b64decode(got.complete["LogResult"])
    assert "ErrorCode" not in got.complete


@needs_node
def test_an_error_before_the_first_byte_and_one_behind_it_are_told_in_the_last_event(client: Any, streaming: str) -> None:
    early = Streamed(client, streaming, {"early": True})
    assert early.body == b""
    assert early.complete["ErrorCode"] == "Unhandled"
    assert json.loads(early.complete["ErrorDetails"])["errorMessage"] == "early"
    late = Streamed(client, streaming, {"late": True})
    assert late.body == b"aaaabbbbcccc"
    details = json.loads(late.complete["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("TypeError", "late")


@needs_node
def test_a_large_stream_is_whole_and_one_over_the_limit_is_cut_and_said_to_be(client: Any, streaming: str) -> None:
    size, count = 200_000, 100
    got = Streamed(client, streaming, {"size": size, "count": count})
    assert got.body == b"".join(bytes([97 + i % 26]) * size for i in range(count))
    assert "ErrorCode" not in got.complete
    over = Streamed(client, streaming, {"size": 1024 * 1024, "count": 201})
    assert len(over.body) == 200 * 1024 * 1024, over.complete
    assert json.loads(over.complete["ErrorDetails"])["errorType"] == "Function.ResponseSizeTooLarge"


@needs_node
def test_a_timeout_in_the_middle_ends_the_stream(client: Any, make_function: MakeFunction) -> None:
    name = make_function(STREAMING, runtime=NODE, Timeout=1, MemorySize=1769)
    got = Streamed(client, name, {"gap": 700})
    assert got.body.startswith(b"aaaa")
    assert "timed out after 1.00 seconds" in got.complete["ErrorDetails"]
    assert Streamed(client, name, {}).body == b"aaaabbbbcccc", "and the function runs again"


def test_a_function_that_does_not_stream_is_answered_in_one_piece(client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(event, context):\n    return {'size': 'x' * event['size']}\n")
    got = Streamed(client, name, {"size": 3_000_000})
    assert json.loads(got.body) == {"size": "x" * 3_000_000}
    assert Streamed(client, name, {}).complete["ErrorCode"] == "Unhandled"


@needs_node
def test_a_streaming_function_invoked_plainly_answers_with_the_whole(client: Any, streaming: str) -> None:
    assert client.invoke(FunctionName=streaming, Payload=b"{}")["Payload"].read() == b"aaaabbbbcccc"
    failed = client.invoke(FunctionName=streaming, Payload=b'{"late": true}')
    assert failed["FunctionError"] == "Unhandled"
    assert json.loads(failed["Payload"].read())["errorMessage"] == "late"


@needs_node
def test_bad_requests_and_dry_runs_get_a_plain_answer(client: Any, streaming: str) -> None:
    dry = client.invoke_with_response_stream(FunctionName=streaming, InvocationType="DryRun")
    assert dry["ResponseMetadata"]["HTTPStatusCode"] == 204
    for parameters, code in (
        ({"FunctionName": "nobody-has-this"}, "ResourceNotFoundException"),
        ({"FunctionName": streaming, "InvocationType": "Event"}, "ValidationException"),
        ({"FunctionName": streaming, "Payload": b"{"}, "InvalidRequestContentException"),
    ):
        with pytest.raises(ClientError) as refused:
            client.invoke_with_response_stream(**parameters)
        assert refused.value.response["Error"]["Code"] == code


@needs_node
def test_a_function_whose_client_leaves_runs_to_its_end(client: Any, streaming: str) -> None:
    began = time.monotonic()
    answer = client.invoke_with_response_stream(FunctionName=streaming, Payload=json.dumps({"gap": 500, "count": 8}))
    next(iter(answer["EventStream"]))
    answer["EventStream"].close()
    client.put_function_concurrency(FunctionName=streaming, ReservedConcurrentExecutions=1)

    def runs() -> bool:
        try:
            return Streamed(client, streaming, {}).body == b"aaaabbbbcccc"
        except client.exceptions.TooManyRequestsException:
            return False

    wait_until(runs)
    # It had its environment to itself for as long as it writes.
    assert time.monotonic() - began > 3.5


def get(cluster: Any, url: str, path: str) -> tuple[bytes, bytes]:
    """Head and body as they came, chunks decoded; the body is None where the connection broke off."""
    host = url.removeprefix("http://").rstrip("/")
    address, port = cluster.endpoint.removeprefix("http://").split(":")
    with socket.create_connection((address, int(port)), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        read = b""
        try:
            while data := connection.recv(65536):
                read += data
        except ConnectionResetError:
            pass
    head, _, body = read.partition(b"\r\n\r\n")
    return head.lower(), body


@pytest.fixture
def streamed_url(client: Any, make_function: MakeFunction) -> str:
    name = make_function(ANSWERS, runtime=NODE, Timeout=20, MemorySize=1769)
    allow: Callable[..., Any] = client.add_permission
    allow(
        FunctionName=name,
        StatementId="url",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    allow(FunctionName=name, StatementId="invoke", Action="lambda:InvokeFunction", Principal="*", InvokedViaFunctionUrl=True)
    url: str = client.create_function_url_config(FunctionName=name, AuthType="NONE", InvokeMode="RESPONSE_STREAM")[
        "FunctionUrl"
    ]
    return url


@needs_node
def test_a_url_streams_with_the_status_and_headers_of_the_prelude(cluster: Any, streamed_url: str) -> None:
    head, body = get(cluster, streamed_url, "/")
    assert head.startswith(b"http/1.1 418 ")
    for line in (b"content-type: text/plain", b"x-mine: yes", b"set-cookie: a=b", b"transfer-encoding: chunked"):
        assert line in head
    assert body == b"3\r\ntea\r\n3\r\npot\r\n0\r\n\r\n"


@needs_node
def test_a_url_without_a_prelude_sends_bytes_and_one_with_a_bad_one_is_an_error(cluster: Any, streamed_url: str) -> None:
    head, body = get(cluster, streamed_url, "/plain")
    assert head.startswith(b"http/1.1 200 ")
    assert b"content-type: application/octet-stream" in head
    assert b"plain" in body
    assert get(cluster, streamed_url, "/bad")[0].startswith(b"http/1.1 502 ")


@needs_node
def test_a_url_that_fails_in_the_middle_does_not_look_complete(cluster: Any, streamed_url: str) -> None:
    head, body = get(cluster, streamed_url, "/broken")
    assert head.startswith(b"http/1.1 418 ")
    assert not body.endswith(b"0\r\n\r\n")
