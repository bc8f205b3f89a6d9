"""Whatever is asked, the answer is one that AWS could give: never a 500, never none, an error always in AWS's form."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.session import get_session
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.frontend.apis.lambda_.operations import OPERATIONS
from shared.aws.routing import Router, parse_query
from shared.aws.signatures.canonical import normal_path
from tests.conformance.in_process import Answer, InProcess, control_plane
from tests.conformance.made_up import WireRequest
from tests.conformance.services.lambda_.made_up import MADE_UP, MODEL, SETUP, TAKEN, plain
from tests.conftest import Cluster
from tests.integration.registry.support import new_database

INVOCATIONS = {"Invoke", "InvokeAsync", "InvokeWithResponseStream"}
"""These are answered in front of the control plane: they are asked of a whole cluster."""
CODES = {
    *MODEL.errors,
    "ValidationException",
    "SerializationException",
    "AccessDeniedException",
    "RequestEntityTooLargeException",
    "UnknownOperationException",
}
EXAMPLES_PER_OPERATION = 24
CLUSTER_EXAMPLES = 60
BOUNDED = settings(
    max_examples=EXAMPLES_PER_OPERATION,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""Seeded and bounded. Not shrunk: what a request does depends on those before it."""
ROUTER = Router(MODEL.operations.values())
BOTOCORE: ServiceModel = get_session().get_service_model("lambda")
PARSER = create_parser("rest-json")


def check(request: WireRequest, answer: Answer) -> None:
    shown = f"{request} -> {answer.status} {answer.body[:500]!r}"
    # An empty or dotted name in a path makes it another operation's.
    route = ROUTER.route(request.method, normal_path(request.path.encode()).decode(), parse_query(request.query))
    operation = request.operation if route is None else route.operation.name
    if answer.status == 501 and operation not in OPERATIONS:
        return
    assert answer.status < 500, shown
    if answer.status >= 400:
        check_error(answer, shown)
    else:
        check_reply(operation, answer, shown)


def check_error(answer: Answer, shown: str) -> None:
    assert answer.headers["content-type"] == "application/json", shown
    assert answer.headers["x-amzn-errortype"] in CODES, shown
    assert len(answer.headers["x-amzn-requestid"]) == 36, shown
    body = json.loads(answer.body)
    assert isinstance(body, dict), shown
    assert ("message" in body) != ("Message" in body), shown
    assert body.get("Type") in (None, "User"), shown


def check_reply(operation: str, answer: Answer, shown: str) -> None:
    """What botocore can read, every member of the kind that the model says."""
    described = BOTOCORE.operation_model(operation)
    assert answer.status in (described.http["responseCode"], 200, 202, 204), shown
    if described.output_shape is None or described.has_streaming_output or described.has_event_stream_output:
        return
    parsed = PARSER.parse(
        {"status_code": answer.status, "headers": answer.headers, "body": answer.body}, described.output_shape
    )
    assert parsed["ResponseMetadata"]["HTTPStatusCode"] == answer.status, shown
    if answer.body:
        known = {member.serialization.get("name", name) for name, member in described.output_shape.members.items()}
        assert set(json.loads(answer.body)) <= known, shown


@pytest_asyncio.fixture(scope="module")
async def plane(postgres_engine: str, redis_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InProcess]:
    async with new_database(postgres_engine) as url:
        async with control_plane(url, redis_engine, tmp_path_factory.mktemp("never-500")) as found:
            yield found


async def set_up(plane: InProcess) -> dict[str, str]:
    """Makes what the requests are about, as far as it is gone; the real names of what was made."""
    names: dict[str, str] = {}
    for operation, members in SETUP:
        answer = await plane.send(plain(operation, members))
        assert answer.status in (200, 201, 202, 409, 501), answer
        if operation in TAKEN and answer.status < 300:
            member, stand_in = TAKEN[operation]
            reply = json.loads(answer.body)
            names[stand_in] = reply[member] if member in reply else next(iter(reply.values()))[member]
    return names


@pytest.mark.parametrize("operation", sorted(set(MODEL.operations) - INVOCATIONS))
async def test_no_request_makes_a_500(plane: InProcess, operation: str) -> None:
    names = await set_up(plane)

    async def ask(request: WireRequest) -> None:
        check(request, await plane.send(request.naming(names)))

    await run(MADE_UP.requests(MODEL.operations[operation]), ask)


async def test_no_sequence_of_requests_makes_a_500(plane: InProcess) -> None:
    """Operations in any order, on the same few names."""
    writes = sorted(name for name in set(OPERATIONS) - INVOCATIONS if MODEL.operations[name].method != "GET")
    names = await set_up(plane)
    some = st.sampled_from(writes).flatmap(lambda name: MADE_UP.requests(MODEL.operations[name]))

    async def ask(sequence: list[WireRequest]) -> None:
        answers = await asyncio.gather(*(plane.send(request.naming(names)) for request in sequence))
        for request, answer in zip(sequence, answers, strict=True):
            check(request, answer)

    await run(st.lists(some, min_size=2, max_size=6), ask, examples=80)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "MADE-UP"])
async def test_no_path_or_method_makes_a_500(plane: InProcess, method: str) -> None:
    segment = st.sampled_from(
        ["2015-03-31", "functions", "f", "..", ".", "", "%2F", "%00", "%ff", "tags", "layers", "2018-10-31", "%"]
    )
    paths = st.lists(segment, max_size=7).map(lambda found: "/" + "/".join(found))
    queries = st.sampled_from(
        ["", "&", "=", "%", "find=LayerVersion", "Qualifier=%ff", "a=b&a=c", "MaxItems=x", "MaxItems=%00"]
    )

    async def ask(pair: tuple[str, str]) -> None:
        request = WireRequest("ListFunctions", method, pair[0], pair[1])
        check_any(request, await plane.send(request))

    await run(st.tuples(paths, queries), ask, examples=60)


def check_any(request: WireRequest, answer: Answer) -> None:
    shown = f"{request} -> {answer.status} {answer.body[:500]!r}"
    assert answer.status < 500, shown
    if 400 <= answer.status < 500 and request.method != "HEAD":
        check_error(answer, shown)


async def run(strategy: st.SearchStrategy[Any], ask: Any, examples: int = EXAMPLES_PER_OPERATION) -> None:
    """Hypothesis decides what is asked; the asking itself is done in the tests' own loop."""
    loop = asyncio.get_running_loop()

    @settings(BOUNDED, max_examples=examples)
    @given(strategy)
    def each(value: Any) -> None:
        asyncio.run_coroutine_threadsafe(ask(value), loop).result(60)

    await asyncio.to_thread(each)


async def test_no_request_to_a_cluster_makes_a_500_or_hangs(cluster: Cluster) -> None:
    """Signed, through the front door, invocations among them."""
    port = int(cluster.endpoint.rpartition(":")[2])

    def send(request: WireRequest) -> Answer:
        url = f"{cluster.endpoint}{request.path}" + (f"?{request.query}" if request.query else "")
        signed = AWSRequest(request.method, url, data=request.body, headers=request.headers)
        SigV4Auth(Credentials(cluster.access_key_id, cluster.secret_access_key), "lambda", "us-east-1").add_auth(signed)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            target = request.path + (f"?{request.query}" if request.query else "")
            # In the encoding that was signed: as text, http.client would send them in another.
            headers = {name: value.encode() for name, value in signed.headers.items()}
            connection.request(request.method, target, request.body, headers)
            found = connection.getresponse()
            return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        finally:
            connection.close()

    def through_the_door() -> None:
        for name, members in SETUP:
            send(plain(name, members))

        @settings(BOUNDED, max_examples=CLUSTER_EXAMPLES)
        @given(st.sampled_from(sorted(MODEL.operations)).flatmap(lambda name: MADE_UP.requests(MODEL.operations[name])))
        def each(request: WireRequest) -> None:
            check(request, send(request))

        each()

    await asyncio.to_thread(through_the_door)
