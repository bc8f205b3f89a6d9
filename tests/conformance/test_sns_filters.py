"""Which messages AWS's SNS was seen to let through filter policies: every recorded pair of a policy and messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.domain.filter_policies import FilterPolicy, Scope
from tests.conformance.facts import load

ATTRIBUTES = [one for one in load("sns") if one.id.startswith("filter-attributes.") and isinstance(one.raw.get("given"), list)]
BODIES = [one for one in load("sns") if one.id.startswith("filter-body.")]


def attribute(told: Any) -> tuple[str, str]:
    """`Number 99` or {DataType, StringValue}."""
    if isinstance(told, dict):
        return told["DataType"], told["StringValue"]
    kind, _, value = str(told).partition(" ")
    return kind, value


def passes(policy: dict[str, Any], scope: str, message: Any) -> bool:
    found = FilterPolicy(json.dumps(policy), Scope(scope))
    if found.scope is Scope.BODY:
        return found.matches_body(json.dumps(message))
    return found.matches_attributes({name: attribute(value) for name, value in message.items()})


@pytest.mark.covers(
    "sns",
    "filter-attributes.numeric-range",
    "filter-attributes.exists-true",
    "filter-attributes.exists-false",
    "filter-attributes.string-array",
    "filter-attributes.publish-batch",
)
@pytest.mark.parametrize("entry", ATTRIBUTES, ids=lambda entry: entry.id)
def test_attributes_pass_as_recorded(entry: Any) -> None:
    config, then = entry.raw["config"], entry.raw["then"]
    if isinstance(then, dict):
        then = ["delivered", "not delivered"]
    found = [passes(config["FilterPolicy"], config["FilterPolicyScope"], message) for message in entry.raw["given"]]
    assert found == [text == "delivered" for text in then]


@pytest.mark.covers("sns", "filter-attributes.null-or-anything-but-without-attribute")
def test_neither_null_nor_anything_but_finds_what_is_not_there() -> None:
    assert not passes({"attr1": [None, {"anything-but": "whatever"}]}, "MessageAttributes", {})


@pytest.mark.covers(
    "sns",
    "filter-body.dotted-key",
    "filter-body.dotted-key-deep",
    "filter-body.dotted-key-over-nested-objects-and-arrays",
    "filter-body.array-value",
    "filter-body.array-of-objects",
    "filter-body.cidr-in-or",
)
@pytest.mark.parametrize("entry", BODIES, ids=lambda entry: entry.id)
def test_bodies_pass_as_recorded(entry: Any) -> None:
    config, given, then = dict(entry.raw["config"]), entry.raw["given"], entry.raw["then"]
    messages, ends = (given, then) if isinstance(given, list) else ([given], [then])
    scope = config.pop("FilterPolicyScope")
    policies = {"delivered": config["FilterPolicy"]} if "FilterPolicy" in config else config
    for message, end in zip(messages, ends, strict=True):
        for name, policy in policies.items():
            assert passes(policy, scope, message) is (name in (end, end.removeprefix("to ")) or end == "to both"), message
