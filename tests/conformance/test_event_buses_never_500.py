"""Whatever is asked of EventBridge, the answer is one that AWS could give."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.frontend.apis.events.context import EventsContext
from services.frontend.apis.events.operations import OPERATIONS, events
from services.frontend.edge.bodies import BodyReader
from services.frontend.edge.homes import Homes
from services.frontend.edge.identity import Callers
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import RequestReader
from services.frontend.endpoint.service_app import ServiceApp
from shared.aws.service_model import Operation, load_service_model
from shared.events.archive_topics import ArchiveTopics
from shared.events.bus_queue import BusQueue
from shared.events.producer import BatchingProducer
from shared.events.topics import ensure_topics
from shared.registry.events.cache import BusCache
from shared.registry.registry import Registry
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.conformance.in_process import InProcess
from tests.conformance.made_up import BODIES, JUNK, WireRequest
from tests.integration.events.parts import settings_of
from tests.integration.registry.support import new_database

MODEL = load_service_model("events")
PLACE = "us-east-1:000000000000"
BUS, QUEUE = f"arn:aws:events:{PLACE}:event-bus/a", f"arn:aws:sqs:{PLACE}:q"
ARCHIVE, CONNECTION = (
    f"arn:aws:events:{PLACE}:archive/a",
    f"arn:aws:events:{PLACE}:connection/a/00000000-0000-4000-8000-000000000000",
)
ODD = ["a\x00b", "\ud800", "é😀", ""]
PATTERNS = [
    '{"source": ["a"]}',
    '{"a": [{"numeric": [">", 1e999]}]}',
    "{",
    '{"a": [{"wildcard": "' + "*a" * 1_000 + '"}]}',
    "[" * 4_000,
    '{"a":' * 600,
    '{"a": [{"prefix": "\\ud800"}]}',
    *ODD,
]
EVENT = '{"id": "1", "account": "0", "source": "a", "time": "t", "region": "r", "detail-type": "d", "detail": %s}'
FITTING: dict[str, list[Any]] = {
    "Name": ["a", "b", "default", "x" * 64],
    "EventBusName": ["a", "default", "gone", BUS, "arn:aws:events:eu-west-1:111111111111:event-bus/a"],
    "NamePrefix": ["a", "%", "_"],
    "Rule": ["a", "gone"],
    "EventPattern": PATTERNS,
    "Event": [EVENT % "{}", EVENT % ("[" * 2_000), EVENT % '{"a": 1e999}', "[]", "{", *ODD],
    "ScheduleExpression": ["rate(5 minutes)", "cron(0 0 ? * 6L *)", "rate(9999999999 days)", "cron(* * * * * *)", *ODD],
    "State": ["ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", "RUNNING"],
    "Description": ["text", *ODD],
    "RoleArn": ["arn:aws:iam::000000000000:role/r", *ODD],
    "Targets": [
        [{"Id": "a", "Arn": QUEUE}],
        [{"Id": "a", "Arn": QUEUE, "InputPath": "$.detail"}, {"Id": "b", "Arn": f"{QUEUE}.fifo"}],
        [{"Id": "a", "Arn": QUEUE, "InputPath": "$..["}],
        [{"Id": "a", "Arn": QUEUE, "Input": text} for text in ODD],
        [{"Id": "a", "Arn": QUEUE, "InputTransformer": {"InputPathsMap": {"a": "$.a", "b": "$["}, "InputTemplate": "<a>"}}],
        [{"Id": "a", "Arn": QUEUE, "SqsParameters": {}, "RetryPolicy": {}, "DeadLetterConfig": {}}],
        [{"Id": "a", "Arn": arn} for arn in ("kafka://t", "arn:aws:logs:us-east-1:000000000000:log-group:l", "x", "arn:aws:sqs:::q")],
        [None],
    ],
    "Ids": [["a"], ["gone", "a"]],
    "TargetArn": [QUEUE, *ODD],
    "Entries": [
        [{"Source": "a", "DetailType": "b", "Detail": "{}", "EventBusName": name}] for name in ("a", "gone", BUS, "arn:x", "arn:aws:events:r:0:event-bus/a")
    ] + [[{"Source": text, "DetailType": text, "Detail": json.dumps({"a": text})}] for text in ODD]
    + [[{"Source": "a", "DetailType": "b", "Detail": "[" * 5_000}], [{}], [None], [{}] * 11,
       [{"Source": "a", "DetailType": "b", "Detail": '{"n": 1e999, "m": ' + "9" * 400 + "}", "Time": -62_135_596_800, "Resources": ["\ud800"]}]],
    "Action": ["events:PutEvents"],
    "Principal": ["*", "123456789012"],
    "StatementId": ["a", "b"],
    "Condition": [{"Type": "StringEquals", "Key": "aws:PrincipalOrgID", "Value": "o"}, {}],
    "Policy": ['{"Statement": []}', '{"Statement": [5]}', '{"Statement": {}}', "{", "[" * 5_000, '{"Statement": [{"Sid": "\\u0000"}]}', *ODD],
    "RemoveAllPermissions": [True, False],
    "ResourceARN": [BUS, f"arn:aws:events:{PLACE}:rule/a", f"arn:aws:events:{PLACE}:rule/a/a", "arn:aws:events:::event-bus/", "x" * 20, *ODD],
    "Tags": [[{"Key": "a", "Value": "b"}], [], [{"Key": "a", "Value": "b"}] * 2, [{"Key": "a\x00", "Value": "b"}], [{"Key": str(n), "Value": "v"} for n in range(51)]],
    "TagKeys": [["a"], ["b"]],
    "ArchiveName": ["a", "gone"],
    "EventSourceArn": [BUS, ARCHIVE, f"arn:aws:events:{PLACE}:archive/gone", "arn:aws:events:::event-bus/a"],
    "RetentionDays": [0, 1, 36_500, 2_147_483_647],
    "ReplayName": ["a", "gone"],
    "EventStartTime": [1_700_000_000, 0, -62_135_596_800, 1e11],
    "EventEndTime": [1_800_000_000, 0.5, 2e11],
    "Destination": [{"Arn": BUS}, {"Arn": BUS, "FilterArns": [f"arn:aws:events:{PLACE}:rule/a/a"]}, {"Arn": "arn:aws:events:::event-bus/a"}],
    "AuthorizationType": ["BASIC", "API_KEY", "OAUTH_CLIENT_CREDENTIALS"],
    "AuthParameters": [
        {"BasicAuthParameters": {"Username": "u", "Password": "p"}},
        {"ApiKeyAuthParameters": {"ApiKeyName": "n", "ApiKeyValue": "v"}, "InvocationHttpParameters": {"HeaderParameters": [{"Key": "k", "Value": "v", "IsValueSecret": True}]}},
        {},
    ],
    "ConnectionArn": [CONNECTION, "arn:aws:events:us-east-1:000000000000:connection/gone/x"],
    "HttpMethod": ["POST", "GET"],
    "InvocationEndpoint": ["https://example.com/", "http://x"],
    "InvocationRateLimitPerSecond": [1, 300],
    "NextToken": ["IiI=", "ImEi", "MQ==", "!", "ImFcdTAwMDAi"],
    "Limit": [1, 100],
}  # fmt: skip
FIRST = {"CreateEventBus": {"Name": "a"}, "PutRule": {"Name": "a", "EventPattern": PATTERNS[0]}}
BOUNDED = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)  # fmt: skip


def members(operation: Operation) -> st.SearchStrategy[dict[str, Any]]:
    shape = operation.input
    assert shape is not None

    def value(name: str) -> st.SearchStrategy[Any]:
        fits = st.sampled_from(FITTING[name]) if name in FITTING else JUNK
        return st.integers(0, 9).flatmap(lambda pick: fits if pick < 8 else JUNK)

    needed = {name: value(name) for name in shape.members if name in shape.required}
    others = {name: value(name) for name in shape.members if name not in shape.required}
    return st.fixed_dictionaries(needed, optional=others)


def request_of(operation: str, sent: dict[str, Any], body: bytes | None = None) -> WireRequest:
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"AWSEvents.{operation}"}
    return WireRequest(operation, "POST", "/", "", headers, json.dumps(sent).encode() if body is None else body)


@pytest_asyncio.fixture(scope="module")
async def plane(postgres_engine: str, kafka_engine: KafkaCluster) -> AsyncIterator[InProcess]:
    async with new_database(postgres_engine) as url:
        found = Settings.model_validate({**settings_of(kafka_engine).model_dump(), "database_url": url})
        await ensure_topics(found)
        registry, producer = Registry(found), BatchingProducer.of(found, "never-500")
        await registry.migrate()
        await registry.open()
        await producer.open()
        homes = Homes.of(found)
        reader = RequestReader(None, BodyReader(), Callers(found.account_id), homes)
        context = EventsContext(registry, BusCache(registry), ArchiveTopics(found), BusQueue(found, producer).put)
        try:
            yield InProcess(ServiceApp(events(context), reader, RequestIds(), regions=homes.regions))
        finally:
            await producer.close()
            await registry.close()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_no_request_makes_a_500(plane: InProcess, name: str) -> None:
    bodies = st.integers(0, 19).flatmap(lambda pick: BODIES if pick == 0 else st.none())
    loop = asyncio.get_running_loop()
    for operation, sent in FIRST.items():
        await plane.send(request_of(operation, sent))

    async def ask(request: WireRequest) -> None:
        answer = await plane.send(request)
        shown = f"{request} -> {answer.status} {answer.body[:500]!r}"
        assert answer.status in (200, 400, 413), shown
        told = json.loads(answer.body) if answer.body else {}
        assert answer.status == 200 or {"__type"} <= set(told) <= {"__type", "message", "Message"}, shown

    @BOUNDED
    @given(members(MODEL.operations[name]), bodies)
    def each(sent: dict[str, Any], body: bytes | None) -> None:
        asyncio.run_coroutine_threadsafe(ask(request_of(name, sent, body)), loop).result(60)

    await asyncio.to_thread(each)
