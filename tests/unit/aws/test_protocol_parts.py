"""The pieces that the protocols are made of: CBOR, page tokens, texts of header lists, constraints of other services than Lambda."""

from __future__ import annotations

import base64
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.aws import page_tokens
from shared.aws.protocols import cbor
from shared.aws.protocols.table import PROTOCOLS
from shared.aws.routing import Route, Router
from shared.aws.service_model import load_service_model
from shared.aws.validation import validate
from shared.domain.errors import SerializationException, ValidationException

ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(ITEMS)
def test_cbor_comes_back_as_it_was(value: Any) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@given(st.binary(max_size=200))
def test_whatever_arrives_as_cbor_is_read_or_refused(data: bytes) -> None:
    try:
        cbor.decode(data)
    except cbor.CborError:
        pass


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("f97e00", math.nan),
        ("f97c00", math.inf),
        ("fa47c35000", 100000.0),
        ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"),
        ("7f657374726561646d696e67ff", "streaming"),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("c11a514b67b0", cbor.Moment(1363896240)),
    ],
)
def test_cbor_is_read_as_in_the_examples_of_its_rfc(data: str, value: Any) -> None:
    found = cbor.decode(bytes.fromhex(data))
    assert found == value or (math.isnan(value) and math.isnan(found))


def test_pages_go_on_where_they_ended_and_foreign_tokens_are_told() -> None:
    assert page_tokens.decode(page_tokens.encode(("name", 3)), tuple[str, int]) == ("name", 3)
    for token in ("", "x", "A" * 3_000, page_tokens.encode(7), base64.urlsafe_b64encode(b"[" * 900).decode()):
        with pytest.raises(page_tokens.PageTokenError):
            page_tokens.decode(token, str)


def test_constraints_of_another_service_are_told_in_the_recorded_words() -> None:
    operation = load_service_model("sts").operations["AssumeRole"]
    params = {"RoleArn": "arn:a:b:::something/test-role", "RoleSessionName": "Session1:2"}
    with pytest.raises(ValidationException) as caught:
        validate(operation, params)
    assert str(caught.value) == (
        "1 validation error detected: Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [\\w+=,.@-]*"
    )
    body = PROTOCOLS["query"].error(load_service_model("sts"), caught.value, "id").body
    assert b"<Code>ValidationError</Code>" in body


def test_operations_on_one_path_are_told_apart_by_what_they_need() -> None:
    router = Router(load_service_model("s3").operations.values())

    def name(method: str, path: str, query: dict[str, list[str]] | None = None, headers: frozenset[str] = frozenset()) -> str:
        route = router.route(method, path, query or {}, headers)
        assert route is not None
        return route.operation.name

    assert name("PUT", "/bucket/a/b") == "PutObject"
    assert name("PUT", "/bucket/a/b", headers=frozenset({"x-amz-copy-source"})) == "CopyObject"
    assert name("PUT", "/bucket/a/b", {"partNumber": ["1"], "uploadId": ["u"]}) == "UploadPart"
    assert name("GET", "/bucket/") == "ListObjects"
    assert name("GET", "/bucket", {"list-type": ["2"]}) == "ListObjectsV2"
    route = router.route("GET", "/bucket/folder/with%2Fslash//end/", {})
    assert route == Route(
        load_service_model("s3").operations["GetObject"], {"Bucket": "bucket", "Key": "folder/with/slash//end/"}
    )


FUZZED = {
    "json": (
        "sqs",
        "SendMessageBatch",
        b'{"QueueUrl": "q", "Entries": [{"Id": "a", "MessageAttributes": {"n": {"DataType": "x"}}}]}',
    ),
    "query": ("sqs", "SendMessageBatch", b"QueueUrl=q&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n&a.1.2=%41"),
    "ec2": (
        "ec2",
        "RunInstances",
        b"ImageId=a&MinCount=1&BlockDeviceMapping.1.Ebs.VolumeSize=5&TagSpecification.1.Tag.2.Key=k",
    ),
    "rest-xml": (
        "s3",
        "PutBucketLifecycleConfiguration",
        b'<L xmlns="n"><Rule><ID>a</ID><Filter><And><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter></Rule></L>',
    ),
    "smithy-rpc-v2-cbor": ("cloudwatch", "PutMetricData", cbor.encode({"Namespace": "n", "MetricData": [{"Value": 1.5}]})),
    "rest-json": ("scheduler", "CreateSchedule", b'{"Target": {"Arn": "a", "RetryPolicy": {"MaximumRetryAttempts": 1}}}'),
}


@pytest.mark.parametrize("protocol", FUZZED)
@given(st.data())
def test_whatever_arrives_is_read_or_refused(protocol: str, data: st.DataObject) -> None:
    service, name, good = FUZZED[protocol]
    body = bytearray(good)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b".1.", b"<a>", b"null", b"=&"])
        )
    route = Route(load_service_model(service).operations[name], {})
    try:
        PROTOCOLS[protocol].parse(route, {}, {}, bytes(body))
    except SerializationException:
        pass
