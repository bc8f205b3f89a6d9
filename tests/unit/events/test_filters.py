"""AWS's filter patterns over Kafka records. Patterns and answers are those of the Lambda and EventBridge guides."""

from __future__ import annotations

import json
import re
import time
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.poller.mapping.filters import RecordFilter
from services.poller.sources.kafka.format import KafkaFormat
from shared.domain.errors import InvalidParameterValueException
from shared.domain.event_patterns import parse_json
from shared.domain.filter_patterns import Pattern


def kafka_filter(patterns: list[str]) -> RecordFilter[Any]:
    return RecordFilter(patterns, "value", KafkaFormat(SimpleNamespace(source_arn=None, uuid="u"), "b:9092").filter_view)


CASES = yaml.safe_load(
    r"""
- {pattern: '{"Location": ["New York"], "Day": ["Monday"]}', passes: ['{"Location": "New York", "Day": "Monday", "x": 1}'],
   drops: ['{"Location": "New York", "Day": "Tuesday"}', '{"Location": "New York"}']}
- {pattern: '{"Name": ["Alice"]}', passes: ['{"Name": "Alice"}'], drops: ['{"Name": "alice"}', '{"Name": "Alice "}']}
- {pattern: '{"n": [300]}', passes: ['{"n": 300}'], drops: ['{"n": 300.0}', '{"n": 3.0e2}']}
- {pattern: '{"UserID": [null]}', passes: ['{"UserID": null}'], drops: ['{"UserID": ""}', '{}']}
- {pattern: '{"LastName": [""]}', passes: ['{"LastName": ""}'], drops: ['{"LastName": null}', '{}']}
- {pattern: '{"tags": ["a", "b"]}', passes: ['{"tags": ["b", "c"]}'], drops: ['{"tags": ["c", "d"]}', '{"tags": []}']}
- {pattern: '{"FileName": [{"suffix": ".png"}]}', passes: ['{"FileName": "a.png"}'],
   drops: ['{"FileName": "a.PNG"}', '{"FileName": "png"}', '{"FileName": 1}']}
- {pattern: '{"Name": [{"equals-ignore-case": "alice"}]}', passes: ['{"Name": "ALICE"}', '{"Name": "alice"}'], drops: ['{"Name": "Dalice"}']}
- {pattern: '{"service": [{"prefix": {"equals-ignore-case": "EventB"}}]}', passes: ['{"service": "eventbridge"}'], drops: ['{"service": "x"}']}
- {pattern: '{"FileName": [{"suffix": {"equals-ignore-case": ".png"}}]}', passes: ['{"FileName": "a.PNG"}'], drops: ['{"FileName": "a.gif"}']}
- {pattern: '{"state": [{"anything-but": ["stopped", "overloaded"]}]}', passes: ['{"state": "running"}'],
   drops: ['{"state": "stopped"}', '{"state": "overloaded"}', '{}']}
- {pattern: '{"x": [{"anything-but": [100, 200]}]}', passes: ['{"x": 123}'], drops: ['{"x": 100}']}
- {pattern: '{"x": [{"anything-but": 100}]}', passes: ['{"x": 123}'], drops: ['{"x": 100}']}
- {pattern: '{"state": [{"anything-but": {"prefix": "init"}}]}', passes: ['{"state": "running"}'], drops: ['{"state": "initializing"}']}
- {pattern: '{"f": [{"anything-but": {"suffix": ".png"}}]}', passes: ['{"f": "a.jpg"}'], drops: ['{"f": "a.png"}']}
- {pattern: '{"state": [{"anything-but": {"equals-ignore-case": "stopped"}}]}', passes: ['{"state": "running"}'], drops: ['{"state": "STOPPED"}']}
- {pattern: '{"p": [{"anything-but": {"wildcard": "*/lib/*"}}]}', passes: ['{"p": "/usr/bin/x"}'], drops: ['{"p": "/usr/lib/x"}']}
- {pattern: '{"Price": [{"numeric": [">", 10, "<=", 20]}]}', passes: ['{"Price": 15}', '{"Price": 20}', '{"Price": 10.5}'],
   drops: ['{"Price": 10}', '{"Price": 21}', '{"Price": "15"}']}
- {pattern: '{"Price": [{"numeric": ["=", 100]}]}', passes: ['{"Price": 100}', '{"Price": 1.0e2}'], drops: ['{"Price": 99}', '{"Price": "100"}']}
- {pattern: '{"person": {"address": [{"exists": true}]}}', passes: ['{"person": {"address": "x"}}'], drops: ['{"person": {"address": {"city": "x"}}}', '{}']}
- {pattern: '{"person": {"address": [{"exists": false}]}}', passes: ['{"person": {"address": {"city": "x"}}}', '{"person": {}}'], drops: ['{"person": {"address": "x"}}']}
- {pattern: '{"Organizations": {"L": {"S": [{"exists": true}]}}}', passes: ['{"Organizations": {"L": [{"S": "Sales"}]}}'], drops: ['{"Organizations": {"L": []}}']}
- {pattern: '{"source": ["aws.cloudwatch"], "$or": [{"metricName": ["CPUUtilization"]}, {"namespace": ["AWS/EC2"]}]}',
   passes: ['{"source": "aws.cloudwatch", "metricName": "CPUUtilization"}', '{"source": "aws.cloudwatch", "namespace": "AWS/EC2"}'],
   drops: ['{"source": "aws.cloudwatch", "metricName": "Other"}', '{"source": "x", "metricName": "CPUUtilization"}']}
- {pattern: '{"p": [{"wildcard": "Simple*Service"}]}', passes: ['{"p": "SimpleQueueService"}', '{"p": "SimpleService"}'], drops: ['{"p": "SimpleQueue"}']}
- {pattern: '{"p": [{"wildcard": "a\\*b"}]}', passes: ['{"p": "a*b"}'], drops: ['{"p": "axb"}']}
- {pattern: '{"ip": [{"cidr": "10.0.0.0/24"}]}', passes: ['{"ip": "10.0.0.255"}'], drops: ['{"ip": "10.0.1.0"}', '{"ip": "no"}']}
- {pattern: '{"data": {"k": ["hello"], "k": ["world"]}}', passes: ['{"data": {"k": "world"}}'], drops: ['{"data": {"k": "hello"}}']}
- {pattern: '{"x": ["b", {"prefix": "a"}, {"numeric": [">", 5]}]}', passes: ['{"x": "b"}', '{"x": "ab"}', '{"x": 6}'], drops: ['{"x": "c"}', '{"x": 5}']}
- {pattern: '{"b": [true]}', passes: ['{"b": true}'], drops: ['{"b": false}', '{"b": "true"}', '{"b": 1}']}
"""
)


@pytest.mark.parametrize("case", CASES, ids=[case["pattern"][:60] for case in CASES])
def test_a_pattern_matches_what_aws_says_it_matches(case: dict[str, Any]) -> None:
    pattern = Pattern(case["pattern"])
    for text in case["passes"]:
        assert pattern.matches(parse_json(text)), text
    for text in case["drops"]:
        assert not pattern.matches(parse_json(text)), text


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "simple string",
        '{"eventSource": "aws:sqs"}',
        '{"eventSource": []}',
        "single-string",
        '[{"eventName": ["INSERT"=123}]',
        "{}",
        '{"a": {}}',
        '{"a": [{"unknown": 1}]}',
        '{"a": [{"numeric": [">"]}]}',
        '{"a": [{"numeric": ["~", 1]}]}',
        '{"a": [{"exists": "yes"}]}',
        '{"a": [{"anything-but": []}]}',
        '{"a": [{"anything-but": ["x", 1]}]}',
        '{"a": [{"wildcard": "x**"}]}',
        '{"a": [{"wildcard": "x\\\\n"}]}',
        '{"a": [{"cidr": "10.0.0.0/99"}]}',
        '{"a": [["nested"]]}',
        '{"a": [NaN]}',
        '{"a": ["' + "x" * 4_096 + '"]}',
        '{"a":' * 900 + "[1]" + "}" * 900,
    ],
    ids=range(21),
)
def test_an_invalid_pattern_is_refused_with_awss_text(text: str) -> None:
    with pytest.raises(InvalidParameterValueException) as refused:
        kafka_filter([text])
    assert refused.value.message == "Invalid filter pattern definition."


def record(value: bytes | None, topic: str = "t") -> Any:
    return SimpleNamespace(topic=topic, partition=0, offset=1, timestamp=5, value=value)


def test_json_values_are_filtered_by_json_patterns() -> None:
    prefix = kafka_filter(['{"value": {"device_ID": [{"prefix": "AB"}]}}'])
    assert prefix.matches(record(b'{"device_ID": "AB1234", "session": {"duration": 162}}'))
    assert not prefix.matches(record(b'{"device_ID": "XY"}'))


def test_plain_values_are_filtered_by_plain_patterns() -> None:
    plain = kafka_filter(['{"value": [{"anything-but": ["error"]}]}'])
    assert plain.matches(record(b"hello"))
    assert not plain.matches(record(b"error"))


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        (b"plain", '{"value": {"a": [1]}}'),
        (b'{"a": 2}', '{"value": ["plain"]}'),
        (b"\xff\xfe", '{"value": ["x"]}'),
        (None, '{"value": ["x"]}'),
    ],
)
def test_a_value_of_another_form_than_the_pattern_is_delivered(value: bytes | None, pattern: str) -> None:
    assert kafka_filter([pattern]).matches(record(value))


def test_metadata_still_counts_when_value_and_pattern_differ_in_form() -> None:
    both = kafka_filter(['{"topic": ["other"], "value": {"a": [1]}}'])
    assert not both.matches(record(b"plain"))
    assert both.matches(record(b"plain", topic="other"))


def test_any_of_several_filters_lets_a_record_through() -> None:
    either = kafka_filter([json.dumps({"value": {"k": [kind]}}) for kind in ("a", "b")])
    assert either.matches(record(b'{"k": "b"}'))
    assert not either.matches(record(b'{"k": "c"}'))


@given(st.text("ab*", max_size=8).filter(lambda text: "**" not in text), st.text("ab", max_size=10))
def test_a_wildcard_means_what_a_regular_expression_would(wildcard: str, value: str) -> None:
    pattern = Pattern(json.dumps({"value": [{"wildcard": wildcard}]}))
    expected = re.fullmatch(".*".join(map(re.escape, wildcard.split("*"))), value) is not None
    assert pattern.matches({"value": value}) is expected


def test_many_stars_cost_no_more_than_reading_the_value() -> None:
    pattern = Pattern(json.dumps({"value": [{"wildcard": "*a" * 1_000 + "*b"}]}))
    begun = time.process_time()
    assert not pattern.matches({"value": "a" * 1_000_000})
    assert time.process_time() - begun < 1.0
