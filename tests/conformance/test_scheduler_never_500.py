"""Whatever is asked of EventBridge Scheduler, the answer is one that AWS could give."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.frontend.apis.scheduler.operations import OPERATIONS, scheduler_api
from services.frontend.edge.bodies import BodyReader
from services.frontend.edge.homes import Homes
from services.frontend.edge.identity import Callers
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import RequestReader
from services.frontend.endpoint.service_app import ServiceApp
from shared.aws.service_model import Location, Operation, load_service_model
from shared.registry.registry import Registry
from tests.conformance.in_process import InProcess
from tests.conformance.made_up import BODIES, JUNK, WireRequest
from tests.integration.registry.support import new_database, settings_of

MODEL = load_service_model("scheduler")
PLACE = "us-east-1:000000000000"
GROUP_ARN = f"arn:aws:scheduler:{PLACE}:schedule-group"
TARGET = {"Arn": f"arn:aws:sqs:{PLACE}:q", "RoleArn": "arn:aws:iam::000000000000:role/r"}
SDK = "arn:aws:scheduler:::aws-sdk"
FITTING: dict[str, list[Any]] = {
    "Name": ["a", "b", "default", "x" * 64],
    "GroupName": ["default", "a", "b"],
    "ScheduleExpression": ["rate(5 minutes)", "cron(0 0 ? * 6L *)", "at(2030-01-01T00:00:00)", "at(0001-01-01T00:00:00)", "rate(9999999999 days)", "cron(* * * * * *)"],
    "ScheduleExpressionTimezone": ["UTC", "Europe/Berlin", "Mars/Olympus", "../../etc/passwd"],
    "StartDate": [1_900_000_000, 1e11, -62_135_596_800, 0.5],
    "EndDate": [1_900_000_001, 2e11, 0],
    "FlexibleTimeWindow": [{"Mode": "OFF"}, {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1440}, {"Mode": "FLEXIBLE"}],
    "Target": [
        TARGET,
        {**TARGET, "RetryPolicy": {"MaximumRetryAttempts": 0}, "DeadLetterConfig": {}},
        {**TARGET, "Arn": f"{SDK}:sqs:sendMessage", "Input": '{"QueueUrl": "u", "MessageBody": "m"}'},
        {**TARGET, "Arn": f"{SDK}:eventbridge:putEvents", "Input": '{"Entries": [{"Detail": 1}]}'},
        {**TARGET, "Arn": f"arn:aws:lambda:{PLACE}:function:f", "Input": "\ud800"},
        {**TARGET, "Input": "a\x00b"},
    ],
    "State": ["ENABLED", "DISABLED"],
    "Description": ["", "text", "a\x00b", "é😀"],
    "ActionAfterCompletion": ["NONE", "DELETE"],
    "ClientToken": ["t", "u"],
    "ResourceArn": [f"{GROUP_ARN}/a", f"{GROUP_ARN}/gone", f"{GROUP_ARN}/default", "arn:aws:scheduler:eu-west-1:111111111111:schedule-group/a"],
    "Tags": [[{"Key": "a", "Value": "b"}], [], [{"Key": "a", "Value": "b"}] * 2, [{"Key": "a\x00", "Value": "b"}], [{"Key": str(n), "Value": "v"} for n in range(51)]],
    "TagKeys": [["a"], ["a", "b"]],
    "NamePrefix": ["a", "%", "_", "."],
    "NextToken": ["IiI=", "WyJhIiwiYiJd", "WyJhXHUwMDAwIiwiYiJd", "!", "MQ=="],
    "MaxResults": [1, 100],
}  # fmt: skip
BOUNDED = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)  # fmt: skip


def members(operation: Operation) -> st.SearchStrategy[dict[str, Any]]:
    assert operation.input is not None
    shape = operation.input

    def value(name: str) -> st.SearchStrategy[Any]:
        fits = st.sampled_from(FITTING[name]) if name in FITTING else JUNK
        return st.integers(0, 9).flatmap(lambda pick: fits if pick < 8 else JUNK)

    needed = {name: value(name) for name in shape.members if name in shape.required}
    others = {name: value(name) for name in shape.members if name not in shape.required}
    return st.fixed_dictionaries(needed, optional=others)


def request_of(operation: Operation, sent: dict[str, Any], body: bytes | None) -> WireRequest:
    assert operation.input is not None
    path, query, document = "/" + "/".join(operation.path), [], {}
    for name, value in sent.items():
        member = operation.input.members[name]
        if member.location is Location.URI:
            path = path.replace(f"{{{name}}}", quote(str(value).encode("utf-8", "replace"), safe="") or "%20")
        elif member.location is Location.QUERY:
            texts = value if isinstance(value, list) else [value]
            query += [(member.wire_name, str(text).encode("utf-8", "replace")) for text in texts]
        else:
            document[member.wire_name] = value
    return WireRequest(
        operation.name,
        operation.method,
        path,
        urlencode(query),
        {"content-type": "application/json"},
        json.dumps(document).encode() if body is None else body,
    )


@pytest_asyncio.fixture(scope="module")
async def plane(postgres_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InProcess]:
    async with new_database(postgres_engine) as url:
        found = settings_of(url, tmp_path_factory.mktemp("scheduler"))
        registry = Registry(found)
        await registry.migrate()
        await registry.open()
        homes = Homes.of(found)
        reader = RequestReader(None, BodyReader(), Callers(found.account_id), homes)
        try:
            yield InProcess(ServiceApp(scheduler_api(registry), reader, RequestIds(), regions=homes.regions))
        finally:
            await registry.close()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_no_request_makes_a_500(plane: InProcess, name: str) -> None:
    operation = MODEL.operations[name]
    bodies = st.integers(0, 19).flatmap(lambda pick: BODIES if pick == 0 else st.none())
    loop = asyncio.get_running_loop()
    statuses: set[int] = set()
    there = {name: FITTING[name][0] for name in ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")}
    await plane.send(request_of(MODEL.operations["CreateSchedule"], there, None))

    async def ask(request: WireRequest) -> None:
        answer = await plane.send(request)
        statuses.add(answer.status)
        shown = f"{request} -> {answer.status} {answer.body[:500]!r}"
        assert answer.status < 500, shown
        told = json.loads(answer.body)
        if answer.status >= 400:
            assert answer.headers["x-amzn-errortype"], shown
            assert set(told) <= {"Message", "message", "Type"}, shown

    @BOUNDED
    @given(members(operation), bodies)
    def each(sent: dict[str, Any], body: bytes | None) -> None:
        asyncio.run_coroutine_threadsafe(ask(request_of(operation, sent, body)), loop).result(60)

    await asyncio.to_thread(each)
    assert 400 in statuses, "some of what is asked is refused"
    assert statuses & {200, 409}, "some of what is asked gets as far as the registry"


@pytest.mark.parametrize("odd", ["a\x00b", "\ud800", "é😀"])
async def test_texts_that_postgres_cannot_keep_make_no_500(plane: InProcess, odd: str) -> None:
    sent = {name: FITTING[name][0] for name in ("Name", "ScheduleExpression", "FlexibleTimeWindow")}
    for more in ({"Target": TARGET, "Description": odd}, {"Target": {**TARGET, "Input": odd}}):
        answer = await plane.send(request_of(MODEL.operations["CreateSchedule"], {**sent, **more}, None))
        assert answer.status < 500, answer
    tags = {"Name": "odd", "Tags": [{"Key": odd, "Value": odd}]}
    answer = await plane.send(request_of(MODEL.operations["CreateScheduleGroup"], tags, None))
    assert answer.status < 500, answer


def test_every_operation_of_the_model_is_served() -> None:
    assert set(OPERATIONS) == set(MODEL.operations)
