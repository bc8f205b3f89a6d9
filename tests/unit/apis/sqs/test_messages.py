"""Messages on their way in: their MD5s, and what a body may hold."""

from __future__ import annotations

import hashlib

import pytest

from services.frontend.apis.sqs.errors import InvalidMessageContents
from services.frontend.apis.sqs.messages import md5_of_attributes, outgoing
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ApiError
from shared.queues.records import Attribute, Message


def read(fifo: bool = False, **entry: object) -> Message:
    params: Params = {"MessageBody": "x", **entry}
    return outgoing(params, fifo=fifo, sender_id="me", trace_header=None)


@pytest.mark.covers("sqs", "md5.message-attributes")
@pytest.mark.parametrize(
    ("name", "data_type", "value", "expected"),
    [
        ("MyAttribute", "String", "foobar", "adb59cd4678ea5a855436b949cd07ab6"),
        ("Foo", "String", "Bar", "ae7155c6026991b6d54b11589678bf9c"),
        ("k", "String", "x", "a45daa70926828a2f0a1db3418e6feb4"),
        ("timestamp", "Number", "1493147359900", "235c5c510d26fb653d073faed50ae77c"),
        ("UserId", "Number.bigint", "1234567890123456789012", "797ab158d73dcb5242dedc4412c8e855"),
    ],
)
def test_the_md5_of_attributes_is_the_one_that_clients_reckon(name: str, data_type: str, value: str, expected: str) -> None:
    assert md5_of_attributes({name: Attribute(data_type, value)}) == expected


def test_the_md5_of_several_attributes_goes_by_their_names_and_tells_bytes_from_text() -> None:
    one, two = Attribute("String", "1"), Attribute("Binary", binary_value=b"2")
    assert md5_of_attributes({"a": one, "b": two}) == md5_of_attributes({"b": two, "a": one})
    parts = b"\0\0\0\1b\0\0\0\6Binary\2\0\0\0\0012"
    assert md5_of_attributes({"b": two}) == hashlib.md5(parts, usedforsecurity=False).hexdigest()
    assert md5_of_attributes({}) is None


@pytest.mark.parametrize("body", ["\t\n\r ~", "ü\ud7ff\ue000\ufffd", "\U00010000\U0010ffff"])
def test_a_body_may_hold_every_character_of_xml(body: str) -> None:
    assert read(MessageBody=body).body == body.encode()


@pytest.mark.parametrize("body", ["\x00", "\x0b", "\x1f", "a\ufffe", "\uffff", "\ud800"])
def test_a_body_with_any_other_is_refused(body: str) -> None:
    with pytest.raises(InvalidMessageContents):
        read(MessageBody=body)


def test_a_fifo_queue_takes_no_delay_but_that_of_none() -> None:
    assert read(fifo=True, MessageGroupId="g", DelaySeconds=0).delay_s is None
    with pytest.raises(ApiError, match="not valid for this queue type"):
        read(fifo=True, MessageGroupId="g", DelaySeconds=1)
    assert read(DelaySeconds=0).delay_s == 0


@pytest.mark.parametrize("number", ["1", "-1", "+1.5", ".5", "1e10", "-2.5E-3", " 7 "])
def test_numbers_are_taken_in_every_form(number: str) -> None:
    attribute = {"DataType": "Number", "StringValue": number}
    assert read(MessageAttributes={"n": attribute}).attributes == {"n": Attribute("Number", number)}


@pytest.mark.parametrize("number", ["1" * 39, "1e127", "1e-129", "0.1e-128", "x", "1_000", "٣"])
def test_numbers_have_38_digits_and_the_magnitudes_of_sqs(number: str) -> None:
    with pytest.raises(ApiError, match=r"Can't cast the value of message \(user\) attribute 'n' to a number\."):
        read(MessageAttributes={"n": {"DataType": "Number.mine", "StringValue": number}})
    for good in ("1" * 38, "1" + "0" * 126, "9e126", "1e-128", "0" * 200, "-0.0"):
        assert read(MessageAttributes={"n": {"DataType": "Number", "StringValue": good}}).attributes["n"].string_value == good


@pytest.mark.parametrize("name", [".a", "a.", "a..b", "a b", "ä", "a" * 256])
def test_names_of_attributes_have_their_form(name: str) -> None:
    with pytest.raises(ApiError):
        read(MessageAttributes={name: {"DataType": "String", "StringValue": "x"}})


@pytest.mark.parametrize(
    "value",
    [
        {"DataType": "String", "StringValue": "x", "BinaryValue": b"x"},
        {"DataType": "Binary", "StringValue": "x"},
        {"DataType": "Binary", "BinaryValue": b""},
        {"DataType": "String." + "x" * 250, "StringValue": "x"},
        {"DataType": "String", "StringValue": "\x00"},
        {"DataType": "String", "StringListValues": ["x"]},
        {"StringValue": "x"},
    ],
)
def test_values_of_attributes_are_of_their_type_alone(value: dict[str, object]) -> None:
    with pytest.raises(ApiError):
        read(MessageAttributes={"a": value})
