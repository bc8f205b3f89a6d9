"""Filter policies of subscriptions: which messages they let through, and which policies are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.domain.filter_policies import FilterPolicy, FilterPolicyError, Scope

Attributes = dict[str, tuple[str, str]]


def by_attributes(policy: dict[str, Any]) -> FilterPolicy:
    return FilterPolicy(json.dumps(policy), Scope.ATTRIBUTES)


def by_body(policy: dict[str, Any]) -> FilterPolicy:
    return FilterPolicy(json.dumps(policy), Scope.BODY)


@pytest.mark.parametrize(
    ("policy", "attributes", "passes"),
    [
        ({"a": ["x"]}, {"a": ("String", "x")}, True),
        ({"a": ["x"]}, {"a": ("String", "y")}, False),
        ({"a": ["x"]}, {}, False),
        ({"a": ["x"], "b": ["y"]}, {"a": ("String", "x")}, False),
        ({"a": [100]}, {"a": ("Number", "100.0")}, True),
        ({"a": [100]}, {"a": ("String", "100")}, False),
        ({"a": ["100"]}, {"a": ("Number", "100")}, False),
        ({"a": [{"numeric": ["=", 1.5]}]}, {"a": ("Number.float", "1.50")}, True),
        ({"a": [{"numeric": [">", 0, "<=", 100]}]}, {"a": ("Number", "100.1")}, False),
        ({"a": ["x"]}, {"a": ("String.Array", '["w", "x"]')}, True),
        ({"a": [True]}, {"a": ("String.Array", "[true]")}, True),
        ({"a": [True]}, {"a": ("String", "true")}, False),
        ({"a": ["x"]}, {"a": ("String.Array", "no array")}, False),
        ({"a": [{"anything-but": ["x"]}]}, {"a": ("String", "y")}, True),
        ({"a": [{"anything-but": ["x"]}]}, {}, False),
        ({"a": [{"exists": True}]}, {"a": ("Binary", "")}, True),
        ({"a": ["x"]}, {"a": ("Binary", "x")}, False),
        ({"a.b": ["x"]}, {"a.b": ("String", "x")}, True),
        ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": ("String", "y")}, True),
        ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": ("String", "x")}, False),
        ({"a": [{"equals-ignore-case": "x"}]}, {"a": ("String", "X")}, True),
        ({"a": [{"suffix": "x"}]}, {"a": ("String", "wx")}, True),
        ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": ("String", "10.0.1.0")}, False),
    ],
)
def test_a_policy_over_attributes(policy: dict[str, Any], attributes: Attributes, passes: bool) -> None:
    assert by_attributes(policy).matches_attributes(attributes) is passes


@pytest.mark.parametrize(
    ("policy", "body", "passes"),
    [
        ({"a": {"b": ["x"]}}, {"a": {"b": "x"}}, True),
        ({"a": {"b": ["x"]}}, {"a": [{"b": "w"}, {"b": "x"}]}, True),
        ({"a": {"b": ["x"], "c": ["y"]}}, {"a": [{"b": "x"}, {"c": "y"}]}, False),
        ({"a": {"b": [{"exists": False}]}}, {"a": {}}, True),
        ({"a": [None]}, {"a": None}, True),
        ({"a": [None]}, {}, False),
        ({"a": [1]}, {"a": 1.0}, True),
        ({"a": [1]}, {"a": True}, False),
    ],
)
def test_a_policy_over_the_body(policy: dict[str, Any], body: Any, passes: bool) -> None:
    assert by_body(policy).matches_body(json.dumps(body)) is passes


@pytest.mark.parametrize("body", ["", "text", "[1]", "1", "{", '{"a": NaN}', "[" * 100_000, '{"a":' * 5_000])
def test_a_body_that_is_no_object_matches_nothing(body: str) -> None:
    assert not by_body({"a": [{"exists": False}]}).matches_body(body)


@pytest.mark.parametrize("text", ["{", "", "nonsense", '{"a": [NaN]}', '{"a": ["\\ud800"]}', "[" * 100_000, "9" * 5_000])
def test_what_is_no_json_is_no_policy(text: str) -> None:
    with pytest.raises(FilterPolicyError, match="failed to parse JSON"):
        FilterPolicy(text, Scope.BODY)


@pytest.mark.parametrize("text", ["[]", "1", '"text"', "null"])
def test_a_policy_is_an_object(text: str) -> None:
    with pytest.raises(FilterPolicyError, match="Filter is not an object"):
        FilterPolicy(text, Scope.BODY)


@pytest.mark.parametrize("operator", ["wildcard", "exactly-nothing"])
def test_operators_that_only_other_patterns_have_are_refused(operator: str) -> None:
    with pytest.raises(FilterPolicyError, match=f"Unrecognized match type {operator}"):
        by_attributes({"a": [{operator: "x"}]})


def test_a_policy_is_kept_without_blanks() -> None:
    assert FilterPolicy('{ "é" : [ "x", 1 ] }', Scope.BODY).text == '{"é":["x",1]}'
