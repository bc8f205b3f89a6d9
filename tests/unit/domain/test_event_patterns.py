"""The one language of patterns: what the recorded ones do not show. Those are in tests/conformance/eventbridge.yaml."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.event_patterns import EventPattern, Number, PatternError, RuleSet, parse_json


def holds(pattern: Any, event: Any) -> bool:
    return EventPattern(json.dumps(pattern)).matches(event)


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        ({"a": {"x": [1], "y": [2]}}, {"a": [{"x": 1, "y": 2}]}, True),
        ({"a": {"x": [1], "y": [2]}}, {"a": [{"x": 1, "y": 3}, {"x": 3, "y": 2}]}, False),
        ({"a": {"x": [1], "y": [2]}}, {"a": [{"x": 1, "y": 3}, {"x": 1, "y": 2}]}, True),
        ({"a": {"x": [1]}, "b": {"y": [2]}}, {"a": [{"x": 1}], "b": [{"y": 3}, {"y": 2}]}, True),
        ({"a": {"b": {"x": [1], "y": [2]}}}, {"a": [{"b": [{"x": 1}]}, {"b": [{"y": 2}]}]}, False),
        ({"a": {"b": {"x": [1]}, "c": [3]}}, {"a": [{"b": [{"x": 2}, {"x": 1}], "c": 3}]}, True),
        ({"a": {"x": [1], "y": [{"exists": False}]}}, {"a": [{"x": 1}]}, True),
        ({"a": {"x": [1], "y.z": [2]}}, {"a": [{"x": 1, "y.z": 2}, {"x": 2, "y": {"z": 3}}]}, True),
        ({"a": [1], "b": [2]}, {"a": [[0, [1]]], "b": 2}, True),
        ({"a": ["x"]}, {"a": {"x": 1}}, False),
        ({"a": [1]}, {"a": True}, False),
        ({"a": [True]}, {"a": 1}, False),
        ({"a": [123456789012345678]}, {"a": 123456789012345679}, False),
        ({"a": ["2001:db8::1"]}, {"a": "2001:0db8::0001"}, True),
        ({"a": [{"exactly": "x"}]}, {"a": "x"}, True),
        ({"a": [{"anything-but": ["x", "y"]}]}, {"a": ["x", "z"]}, True),
        ({"a": [{"anything-but": [1, 2]}]}, {"a": "1"}, True),
        ({"a": [{"anything-but": 1}]}, {"a": 1.0}, False),
        ({"$or": [{"a": [1]}, {"b": [2], "c": [3]}], "d": [4]}, {"b": 2, "c": 3, "d": 4}, True),
        ({"$or": [{"a": [1]}, {"b": [2], "c": [3]}], "d": [4]}, {"b": 2, "d": 4}, False),
        ({"$or": [{"a": [1]}, {"$or": [{"b": [2]}, {"c": [3]}]}]}, {"c": 3}, True),
        ({"$or": [1, 2]}, {"$or": 2}, True),
        ({"$or": [{"prefix": "x"}, {"suffix": "y"}]}, {"$or": "xa"}, True),
        ({"a": [{"suffix": {"equals-ignore-case": ".PNG"}}]}, {"a": "b.png"}, True),
        ({"a": [{"numeric": ["<=", 5]}]}, {"a": 5}, True),
        ({"a": [{"cidr": "10.0.0.5/24"}]}, {"a": "10.0.0.1"}, True),
        ({"a": [{"wildcard": "a\\*b*"}]}, {"a": "a*bc"}, True),
    ],
)
def test_an_event_matches_as_a_pattern_says(pattern: Any, event: Any, expected: bool) -> None:
    assert holds(pattern, event) is expected
    assert bool(RuleSet({"rule": EventPattern(json.dumps(pattern))}).matching(event)) is expected


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        ("", "Filter is not an object", 1),
        ("[1]", "Filter is not an object", 2),
        ("{}", "Empty objects are not allowed", 3),
        ('{"a": []}', "Empty arrays are not allowed", 9),
        ('{"a": "b"}', '"a" must be an object or an array', 8),
        ('{"a": [[1]]}', "Match value must be String, number, true, false, or null", 9),
        ('{"a": [{}]}', "Match expression name not found", 10),
        ('{"a": [{"prefix": "x", "suffix": "y"}]}', "Only one key allowed in match expression", 35),
        ('{"a": [{"exists": "yes"}]}', "exists match pattern must be either true or false.", 20),
        ('{"a": [{"numeric": 5}]}', "Value of numeric must be an array.", 21),
        ('{"a": [{"numeric": ["~", 5]}]}', "Unrecognized numeric range operator: ~", 27),
        ('{"a": [{"numeric": [5]}]}', "Invalid member in numeric match: 5", 22),
        ('{"a": [{"numeric": ["=", "x"]}]}', "Value of equals must be numeric", 27),
        ('{"a": [{"numeric": ["<", 5, ">", 1]}]}', "Too many elements in numeric expression", 30),
        ('{"a": [{"numeric": [">", 5, "<", 5]}]}', "Bottom must be less than top", 36),
        ('{"a": [{"numeric": [">", 6000000000]}]}', "Value must be between -5.0E9 and 5.0E9, inclusive", 37),
        ('{"a": [{"anything-but": {"cidr": "x"}}]}', "Unsupported anything-but pattern: cidr", 35),
        ('{"a": [{"prefix": {"suffix": "x"}}]}', "Unsupported prefix pattern: suffix", 31),
        ('{"a": [{"wildcard": "a**"}]}', "Consecutive wildcard characters at pos 2", 26),
        ('{"a": [{"wildcard": "a\\\\x"}]}', "Invalid escape character at pos 2", 27),
        ('{"a" [1]}', "Unexpected character ('[' (code 91)): was expecting a colon to separate field name and value", 6),
        ('{"a": [1 2]}', "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries", 10),
        ('{"a": [1],}', "Unexpected character ('}' (code 125)): was expecting double-quote to start field name", 11),
        ('{"a": [01]}', "Invalid numeric value: Leading zeroes not allowed", 9),
        ('{"a": ["x]}', "Unexpected end-of-input: was expecting closing quote for a string value", 12),
        ('{"a": [{"prefix": "\\q"}]}', "Unrecognized character escape 'q' (code 113)", 22),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, reason: str, column: int) -> None:
    with pytest.raises(PatternError) as refused:
        EventPattern(text)
    assert str(refused.value) == f'{reason}\n at [Source: (String)"{text}"; line: 1, column: {column}]'


def test_lines_and_long_texts_are_told_as_java_does() -> None:
    text = '{"a":\n ["' + "x" * 600 + '", 🚀]}'
    with pytest.raises(PatternError) as refused:
        EventPattern(text)
    assert "[truncated 115 chars]; line: 2, column: 607]" in str(refused.value)


def test_what_is_open_at_the_end_is_told() -> None:
    with pytest.raises(PatternError) as refused:
        EventPattern('{"a": [1')
    assert str(refused.value) == (
        'Unexpected end-of-input: expected close marker for Array (start marker at [Source: (String)"{"a": [1"; '
        'line: 1, column: 7])\n at [Source: (String)"{"a": [1"; line: 1, column: 9]'
    )


@given(st.text(alphabet='{}[]":, \\1a-.$ornul\n\x00🚀', max_size=60))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    with contextlib.suppress(PatternError):
        assert EventPattern(text).branches


LEAVES = st.sampled_from(["a", "b", 1, 2, 1.0, True, None])
OPTIONS = st.one_of(
    LEAVES, st.sampled_from([{"prefix": "a"}, {"exists": False}, {"anything-but": ["b"]}, {"numeric": [">", 1]}])
)
PATTERNS = st.dictionaries(
    st.sampled_from("xyz"),
    st.recursive(
        st.lists(OPTIONS, min_size=1, max_size=3),
        lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, min_size=1, max_size=2),
    ),
    min_size=1,
    max_size=3,
)
EVENTS = st.dictionaries(
    st.sampled_from("xyz"),
    st.recursive(
        LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3))
    ),
    max_size=3,
)


@given(st.lists(PATTERNS, max_size=6), EVENTS)
def test_rules_together_match_what_each_matches_alone(patterns: list[Any], event: dict[str, Any]) -> None:
    compiled = {place: EventPattern(json.dumps(pattern)) for place, pattern in enumerate(patterns)}
    assert RuleSet(compiled).matching(event) == [place for place, pattern in compiled.items() if pattern.matches(event)]


def test_numbers_of_filters_are_compared_as_they_are_written() -> None:
    pattern = EventPattern('{"n": [300, {"numeric": ["=", 7]}, {"anything-but": [300, 7, 8]}]}', Number)
    matched = [text for text in ("300", "300.0", "7.0", "8.0", "9") if pattern.matches(parse_json(f'{{"n": {text}}}'))]
    assert matched == ["300", "7.0", "9"]


def test_too_many_branches_are_refused() -> None:
    nested: dict[str, Any] = {"z": [1]}
    for _ in range(11):
        nested = {"$or": [{"a": [1]}, {"b": [2]}], "x": nested}
    with pytest.raises(PatternError, match="too complex"):
        EventPattern(json.dumps(nested))


@pytest.mark.parametrize(
    ("wildcards", "refused"),
    [
        (["*.bif", "*.tiff", "*.tif", "*.svs"], False),
        (["*/datasync/*.bif", "*/datasync/*.tif"], False),
        (["*/datasync/*.bif", "*/datasync/*.tif", "*/datasync/*.tiff", "*/datasync/*.svs"], True),
        (["/Users/*/dir/dir/dir/dir/dir/doc.txt"], False),
        (["/Users/*" + "/dir" * 9 + "/doc.txt"], True),
        (["*a*a*a*a*a*a*"], True),
        (["*a*b*c*d*e*f*"], False),
        (["\\*a\\*a\\*a\\*a\\*a\\*a\\*"], False),
        (["*" + "".join(chr(200 + place) for place in range(3_000))], False),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_pattern_whose_wildcards_may_match_in_too_many_places_is_too_complex(
    wildcards: list[str], refused: bool, inside: bool
) -> None:
    value: list[Any] = [{"anything-but": {"wildcard": wildcards}}] if inside else [{"wildcard": text} for text in wildcards]
    text = json.dumps({"detail": {"a": value, "b": [{"wildcard": "*.other"}]}})
    assert EventPattern(text).too_complex == refused
