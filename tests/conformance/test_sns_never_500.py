"""Whatever is asked of SNS, the answer is one that AWS could give."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.frontend.apis.sns.context import SnsContext
from services.frontend.apis.sns.operations import OPERATIONS, sns_api
from services.frontend.edge.bodies import BodyReader
from services.frontend.edge.homes import Homes
from services.frontend.edge.identity import Callers
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import RequestReader
from services.frontend.endpoint.service_app import ServiceApp
from shared.aws.service_model import Kind, Operation, Shape, load_service_model
from shared.events.producer import BatchingProducer
from shared.events.topics import ensure_topics
from shared.registry.registry import Registry
from shared.registry.topic_cache import TopicCache
from shared.settings.kafka import KafkaCluster
from shared.sns.publisher import Publisher
from tests.conformance.in_process import InProcess
from tests.conformance.made_up import JUNK_TEXT, WireRequest
from tests.integration.events.parts import settings_of
from tests.integration.registry.support import new_database

MODEL = load_service_model("sns")
HOME = "us-east-1:000000000000"
TOPIC, FIFO = f"arn:aws:sns:{HOME}:t", f"arn:aws:sns:{HOME}:t.fifo"
SUBSCRIPTION = f"{TOPIC}:00000000-0000-4000-8000-000000000000"
QUEUE = f"arn:aws:sqs:{HOME}:q"
APPLICATION = f"arn:aws:sns:{HOME}:app/ADM/app"
KNOWN: dict[str, list[str]] = {
    "TopicArn": [TOPIC, FIFO, f"{TOPIC}-gone", "arn:aws:sns:eu-west-1:111111111111:t", "arn:aws:sns:::", SUBSCRIPTION],
    "ResourceArn": [TOPIC, f"{TOPIC}-gone"],
    "TargetArn": [TOPIC, f"arn:aws:sns:{HOME}:endpoint/ADM/app/00000000-0000-4000-8000-000000000000"],
    "SubscriptionArn": [SUBSCRIPTION, f"{TOPIC}:x", TOPIC],
    "Name": ["t", "t.fifo", "u", "app"],
    "Protocol": ["sqs", "http", "https", "lambda", "sms", "email", "application", "firehose"],
    "Endpoint": [QUEUE, f"{QUEUE}.fifo", "http://127.0.0.1:1/", "http://[::1", "http://a:99999/", "+15551234567", "a@b", "http://é/"],
    "Message": ["text", '{"default": "a", "sqs": 1}', "{", "[" * 3_000, "x" * 262_145],
    "MessageStructure": ["json", ""],
    "AttributeName": [
        "DisplayName", "Policy", "DeliveryPolicy", "SignatureVersion", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery",
        "RedrivePolicy", "ContentBasedDeduplication", "FifoTopic", "LambdaSuccessFeedbackSampleRate", "TracingConfig",
    ],
    "AttributeValue": [
        "true", "1", "MessageBody", '{"a": ["b"]}', '{"a": [{"numeric": [">", 1e999]}]}', '{"deadLetterTargetArn": 5}', "[]", "{",
        '{"http": {}}', '{"http": {"defaultHealthyRetryPolicy": {"numRetries": 1e400}}}', '{"Statement": [5]}', "{}", "[" * 5_000,
        '{"Statement": {"Effect": "Allow"}}', '{"healthyRetryPolicy": []}', '{"a": [' + "9" * 5_000 + "]}",
    ],
    "DataType": ["String", "Number", "Binary", "String.Array", "Number."],
    "StringValue": ["1", "nan", "1e999", "[1"],
    "NextToken": ["IiI=", "ImEi", "MQ==", "!", "ImFcdTAwMDAi"],
    "PlatformApplicationArn": [APPLICATION, f"{APPLICATION}-gone", f"arn:aws:sns:{HOME}:app/ADM"],
    "EndpointArn": [f"arn:aws:sns:{HOME}:endpoint/ADM/app/00000000-0000-4000-8000-000000000000", APPLICATION],
    "Platform": ["ADM", "APNS", "AAA"],
    "Token": ["t", "0f" * 144, ""],
    "Label": ["l", "__default_statement_ID"],
    "ActionName": ["Publish", "*", "Nothing"],
    "AWSAccountId": ["000000000000", "x"],
    "MessageGroupId": ["g", ""],
    "MessageDeduplicationId": ["d", "é"],
    "PhoneNumber": ["+15551234567", "x"],
    "Id": ["1", "2", ""],
}  # fmt: skip
"""Values by member name: of what exists, of what does not, and of what is hard to get right."""
KEYS = [*KNOWN["AttributeName"], "Enabled", "CustomUserData", "Token", "PlatformCredential", "DefaultSMSType", "a", "a..b", "é"]
BOUNDED = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def values(shape: Shape, name: str, depth: int = 0) -> st.SearchStrategy[Any]:
    if shape.kind is Kind.STRUCTURE:
        return structures(shape, depth + 1)
    if shape.kind is Kind.LIST:
        assert shape.element is not None
        return st.lists(values(shape.element, name, depth + 1), max_size=3)
    if shape.kind is Kind.MAP:
        assert shape.element is not None
        inner = "AttributeValue" if shape.element.kind is Kind.STRING else ""
        return st.dictionaries(st.sampled_from(KEYS), values(shape.element, inner, depth + 1), max_size=3)
    if name in KNOWN:
        fits = st.integers(0, 9).flatmap(lambda pick: st.just(KNOWN[name][0]) if pick < 5 else st.sampled_from(KNOWN[name]))
        return st.integers(0, 9).flatmap(lambda pick: fits if pick < 9 else JUNK_TEXT)
    return JUNK_TEXT | st.text(max_size=6)


def structures(shape: Shape, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    members = {name: values(member.shape, name, depth) for name, member in shape.members.items()}
    return st.fixed_dictionaries(
        {name: members[name] for name in members if name in shape.required},
        optional={name: members[name] for name in members if name not in shape.required},
    )


def fields(shape: Shape, value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """A value as a form has it."""
    if shape.kind is Kind.STRUCTURE:
        for name, item in value.items():
            yield from fields(shape.members[name].shape, item, f"{prefix}.{name}" if prefix else name)
    elif shape.kind is Kind.LIST:
        assert shape.element is not None
        for number, item in enumerate(value, 1):
            yield from fields(shape.element, item, f"{prefix}.member.{number}")
    elif shape.kind is Kind.MAP:
        assert shape.element is not None
        for number, (key, item) in enumerate(value.items(), 1):
            yield f"{prefix}.entry.{number}.{shape.key_name or 'key'}", key
            yield from fields(shape.element, item, f"{prefix}.entry.{number}.{shape.element_name or 'value'}")
    else:
        yield prefix, str(value)


def request_of(operation: Operation, sent: dict[str, Any]) -> WireRequest:
    assert operation.input is not None
    form = [("Action", operation.name), ("Version", MODEL.api_version), *fields(operation.input, sent, "")]
    pairs = [(name.encode("utf-8", "replace"), value.encode("utf-8", "replace")) for name, value in form]
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return WireRequest(operation.name, "POST", "/", "", headers, urlencode(pairs, quote_via=_quoted).encode())


def _quoted(value: str | bytes, *_: Any) -> str:
    return quote_from_bytes(value if isinstance(value, bytes) else value.encode())


@pytest_asyncio.fixture(scope="module")
async def plane(postgres_engine: str, redis_engine: str, kafka_engine: KafkaCluster) -> AsyncIterator[InProcess]:
    async with new_database(postgres_engine) as url:
        found = settings_of(kafka_engine).model_copy(update={"database_url": url, "redis_url": redis_engine})
        registry = Registry(found)
        await registry.migrate()
        await ensure_topics(found)
        producer = BatchingProducer.of(found, "never-500")
        await producer.open()
        publisher = Publisher(found, producer)
        homes = Homes.of(found)
        reader = RequestReader(None, BodyReader(), Callers(found.account_id), homes)
        context = SnsContext(registry, TopicCache(registry), publisher, found.account_id)
        try:
            yield InProcess(ServiceApp(sns_api(context), reader, RequestIds(), regions=homes.regions))
        finally:
            await publisher.close()
            await producer.close()
            await registry.close()


async def set_up(plane: InProcess) -> None:
    made: list[tuple[str, dict[str, Any]]] = [
        ("CreateTopic", {"Name": "t"}),
        ("CreateTopic", {"Name": "t.fifo", "Attributes": {"FifoTopic": "true"}}),
        ("Subscribe", {"TopicArn": TOPIC, "Protocol": "sqs", "Endpoint": QUEUE}),
        ("CreatePlatformApplication", {"Name": "app", "Platform": "ADM", "Attributes": {"PlatformCredential": "x"}}),
    ]
    for name, sent in made:
        answer = await plane.send(request_of(MODEL.operations[name], sent))
        assert answer.status in (200, 400), answer


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_no_request_makes_a_500(plane: InProcess, name: str) -> None:
    operation = MODEL.operations[name]
    assert operation.input is not None
    loop = asyncio.get_running_loop()
    await set_up(plane)

    async def ask(request: WireRequest) -> None:
        answer = await plane.send(request)
        shown = f"{request} -> {answer.status} {answer.body[:500]!r}"
        assert answer.status < 500, shown
        root = ET.fromstring(answer.body)
        wanted = "ErrorResponse" if answer.status >= 400 else f"{name}Response"
        assert root.tag.rpartition("}")[2] == wanted, shown
        if answer.status >= 400:
            assert [part.tag.rpartition("}")[2] for part in root[0]] == ["Type", "Code", "Message"], shown

    @BOUNDED
    @given(structures(operation.input))
    def each(sent: dict[str, Any]) -> None:
        asyncio.run_coroutine_threadsafe(ask(request_of(operation, sent)), loop).result(60)

    await asyncio.to_thread(each)


@pytest.mark.parametrize(
    "body", [b"", b"Action=", b"Action=Publish", b"%", b"Action=Publish&Version=2010-03-31&" + b"a" * 9_000, b"\xff=1"]
)
async def test_no_form_makes_a_500(plane: InProcess, body: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await plane.send(WireRequest("Publish", "POST", "/", "", headers, body))
    assert 400 <= answer.status < 500, answer


async def test_an_attribute_of_every_kind_is_refused_in_words(plane: InProcess) -> None:
    """What a policy is made of is up to whoever sends it."""
    await set_up(plane)
    for name in KNOWN["AttributeName"]:
        for value in KNOWN["AttributeValue"]:
            for operation, key in (("SetTopicAttributes", "TopicArn"), ("SetSubscriptionAttributes", "SubscriptionArn")):
                arn = TOPIC if key == "TopicArn" else SUBSCRIPTION
                sent = {key: arn, "AttributeName": name, "AttributeValue": value}
                answer = await plane.send(request_of(MODEL.operations[operation], sent))
                assert answer.status < 500, (sent, json.dumps(answer.body.decode()))
