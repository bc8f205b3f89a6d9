"""Filters, sources and defaults of event source mappings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.frontend.apis.lambda_ import mapping_rules
from services.poller.mapping.contract import FilterView
from services.poller.mapping.filters import RecordFilter
from shared.domain.errors import InvalidParameterValueException
from shared.domain.mappings import SourceKind
from shared.domain.mappings.catalogue import RULES, kind_of_arn
from shared.domain.mappings.kafka import kafka_cluster
from shared.domain.mappings.rules import OF_SOME_KINDS

HERE = "us-east-1:000000000000"


def filters(pattern: str, kind: SourceKind = SourceKind.MSK) -> tuple[str, ...] | None:
    return mapping_rules.filters(kind, {"FilterCriteria": {"Filters": [{"Pattern": pattern}]}})


@pytest.mark.parametrize(
    "pattern",
    ['{"a": ["b"]}', '{"a": {"b": [1]}}', '{"value": {"n": [{"numeric": [">", 1]}]}}', '{"value": ["plain"]}']
)  # fmt: skip
def test_patterns_of_filters_are_objects_with_arrays_at_their_ends(pattern: str) -> None:
    assert filters(pattern) == (pattern,)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "null",
        "simple string",
        '{"eventSource": "aws:sqs"}',
        '{"eventSource": []}',
        "single-string",
        '[{"eventName": ["INSERT"=123}]',
        "[]",
        "{}",
        '{"a": 1}',
        '{"a": {}}',
        '{"a": [{"numeric": [">"]}]}',
        '{"a": [{"unknown": 1}]}',
        '{"a": [NaN]}',
        "[" * 4_000,
        '{"a":' * 400 + "[1]" + "}" * 400,
    ],
)
def test_other_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidParameterValueException, match=r"^Invalid filter pattern definition\.$"):
        filters(pattern)


@given(st.text(max_size=60) | st.recursive(
    st.sampled_from(['[1]', '["a"]', '[{"exists": true}]', '[{"prefix": "x"}]', "1", "null", "[]", '[{"numeric": ["=", 1]}]']),
    lambda inner: inner.map(lambda text: '{"value": ' + text + "}"), max_leaves=40))  # fmt: skip
def test_a_pattern_that_is_taken_works_at_the_poller(pattern: str) -> None:
    try:
        taken = filters(pattern)
    except InvalidParameterValueException:
        return
    assert taken is not None
    RecordFilter(taken, RULES[SourceKind.MSK].data_field, lambda record: FilterView({}, record))


@pytest.mark.parametrize(("kind", "field"), [(SourceKind.KINESIS, "data"), (SourceKind.DYNAMODB, "dynamodb")])
def test_the_data_of_streams_is_filtered_as_json_alone(kind: SourceKind, field: str) -> None:
    assert filters(f'{{"{field}": {{"a": [1]}}, "eventName": ["x"]}}', kind) is not None
    with pytest.raises(InvalidParameterValueException):
        filters(f'{{"{field}": ["plain"]}}', kind)


@pytest.mark.parametrize(
    ("arn", "kind"),
    [
        (f"arn:aws:sqs:{HERE}:q", SourceKind.SQS),
        (f"arn:aws-cn:sqs:{HERE}:q.fifo", SourceKind.SQS),
        (f"arn:aws:kinesis:{HERE}:stream/s", SourceKind.KINESIS),
        (f"arn:aws:kinesis:{HERE}:stream/s/consumer/c:1700000000", SourceKind.KINESIS),
        (f"arn:aws:dynamodb:{HERE}:table/t/stream/2026-01-01T00:00:00.000", SourceKind.DYNAMODB),
        (f"arn:aws:kafka:{HERE}:cluster/c/1-2", SourceKind.MSK),
        (f"arn:aws:kafka:{HERE}:vpc-connection/000000000000/c/1-2", SourceKind.MSK),
        (f"arn:aws:mq:{HERE}:broker:b:b-1", SourceKind.MQ),
        (f"arn:aws:rds:{HERE}:cluster:docs", SourceKind.DOCUMENTDB),
        (f"arn:aws:dynamodb:{HERE}:table/t", None),
        (f"arn:aws:s3:{HERE}:bucket", None),
        (f"arn:aws:sqs:{HERE}:q\n", None),
        (f"arn:aws:sqs:{HERE}:" + "q" * 2_000, None),
        ("", None),
    ],
)
def test_an_arn_names_its_kind_of_source(arn: str, kind: SourceKind | None) -> None:
    assert kind_of_arn(arn) is kind
    assert kafka_cluster(arn) == ("c" if kind is SourceKind.MSK else None)


def test_every_kind_of_source_has_rules_made_of_known_parameters() -> None:
    assert RULES.keys() == set(SourceKind)
    for rules in RULES.values():
        assert rules.parameters <= set(OF_SOME_KINDS)
