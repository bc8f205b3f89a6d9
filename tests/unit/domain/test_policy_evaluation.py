"""Statements against requests, an explicit Deny first."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.policy_conditions import OPERATORS, MalformedPolicyError, matches, parse_conditions
from shared.domain.policy_evaluation import (
    ANONYMOUS,
    AccessRequest,
    Decision,
    Principal,
    account_root,
    decide,
    is_public,
    parse_statement,
    service_principal,
)

ACCOUNT = "000000000000"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
INVOKE = "lambda:InvokeFunction"
Context = dict[str, tuple[str, ...]]


def statement(**changes: Any) -> dict[str, Any]:
    found = {"Effect": "Allow", "Principal": "*", "Action": INVOKE, "Resource": FUNCTION, **changes}
    return {key: value for key, value in found.items() if value is not None}


def decided(
    *statements: dict[str, Any],
    principal: Principal = ANONYMOUS,
    action: str = INVOKE,
    resource: str = FUNCTION,
    context: Context | None = None,
) -> Decision:
    return decide([parse_statement(one) for one in statements], AccessRequest(principal, action, resource, context or {}))


def applies(condition: dict[str, Any], context: Context) -> bool:
    return decided(statement(Condition=condition), context=context) is Decision.ALLOWED


def test_a_deny_wins_in_every_order_and_whatever_else_is_allowed() -> None:
    deny = statement(Effect="Deny", Principal={"AWS": ACCOUNT})
    allows = [statement(), statement(Principal={"AWS": ACCOUNT}), statement(Action="*", Resource="*")]
    for order in itertools.permutations([deny, *allows]):
        assert decided(*order, principal=account_root(ACCOUNT)) is Decision.DENIED
        assert decided(*order, principal=ANONYMOUS) is Decision.ALLOWED


def test_a_deny_that_does_not_apply_changes_nothing() -> None:
    deny = statement(Effect="Deny", Action="lambda:GetFunction")
    assert decided(deny) is Decision.NOT_MENTIONED
    assert decided(deny, statement()) is Decision.ALLOWED
    assert decided(statement(Effect="Deny")) is Decision.DENIED


def test_without_a_statement_that_applies_nothing_is_said() -> None:
    assert decided() is Decision.NOT_MENTIONED
    assert decided(statement(), action="lambda:InvokeFunctionUrl") is Decision.NOT_MENTIONED
    assert decided(statement(), resource=f"{FUNCTION}:1") is Decision.NOT_MENTIONED


@pytest.mark.parametrize(
    ("element", "admitted"),
    [
        ("*", {"anonymous", "root", "role", "other", "s3"}),
        ({"AWS": "*"}, {"anonymous", "root", "role", "other", "s3"}),
        ({"AWS": ACCOUNT}, {"root", "role"}),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, {"root", "role"}),
        ({"AWS": ["111111111111", f"arn:aws:iam::{ACCOUNT}:role/r"]}, {"role", "other"}),
        ({"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"}, {"role"}),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/another"}, set()),
        ({"Service": "s3.amazonaws.com"}, {"s3"}),
        ({"Service": ["sns.amazonaws.com", "s3.amazonaws.com"], "AWS": "111111111111"}, {"s3", "other"}),
        ({"Federated": "cognito-identity.amazonaws.com"}, set()),
    ],
)
def test_principals(element: Any, admitted: set[str]) -> None:
    everyone = {
        "anonymous": ANONYMOUS,
        "root": account_root(ACCOUNT),
        "role": Principal(ACCOUNT, (f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s", f"arn:aws:iam::{ACCOUNT}:role/r")),
        "other": account_root("111111111111"),
        "s3": service_principal("s3.amazonaws.com"),
    }
    allowed = {
        name for name, one in everyone.items() if decided(statement(Principal=element), principal=one) is Decision.ALLOWED
    }
    assert allowed == admitted
    opposite = statement(Principal=None, NotPrincipal=element, Effect="Deny")
    denied = {name for name, one in everyone.items() if decided(opposite, principal=one) is Decision.DENIED}
    assert denied == everyone.keys() - admitted


@pytest.mark.parametrize(
    ("element", "allowed"),
    [
        (INVOKE, True),
        ("lambda:*", True),
        ("*", True),
        ("LAMBDA:invoke*", True),
        ("lambda:InvokeFunctio?", True),
        ("lambda:Invoke", False),
        (["lambda:GetFunction", "lambda:Invoke*"], True),
        ("s3:*", False),
    ],
)
def test_actions_have_wildcards_and_no_case(element: Any, allowed: bool) -> None:
    assert (decided(statement(Action=element)) is Decision.ALLOWED) is allowed
    assert (decided(statement(Action=None, NotAction=element)) is Decision.ALLOWED) is not allowed


@pytest.mark.parametrize(
    ("element", "allowed"),
    [
        (FUNCTION, True),
        ("*", True),
        ("arn:aws:lambda:*:*:function:f", True),
        (f"{FUNCTION}:*", False),
        (f"{FUNCTION}*", True),
        (FUNCTION.upper(), False),
    ],
)
def test_resources_have_wildcards_and_case(element: str, allowed: bool) -> None:
    assert (decided(statement(Resource=element)) is Decision.ALLOWED) is allowed
    assert (decided(statement(Resource=None, NotResource=element)) is Decision.ALLOWED) is not allowed


ARN = "arn:aws:s3:::bucket"


@pytest.mark.parametrize(
    ("operator", "policy", "yes", "no"),
    [
        ("StringEquals", "a", ["a"], ["A", "ab", "a*", ""]),
        ("StringEquals", "a*", ["a*"], ["ab"]),
        ("StringNotEquals", "a", ["A", "b"], ["a"]),
        ("StringEqualsIgnoreCase", "aB", ["Ab", "AB"], ["a"]),
        ("StringNotEqualsIgnoreCase", "aB", ["a"], ["Ab"]),
        ("StringLike", "a*c?", ["acd", "abcd", "a*cx"], ["ac", "Acd"]),
        ("StringNotLike", "a*", ["b"], ["a", "ab"]),
        ("ArnLike", "arn:aws:s3:::b*", [ARN, "arn:aws:s3:::b:c"], ["arn:aws:sns:::bucket", "bucket"]),
        ("ArnLike", "arn:aws:*:bucket", [], [ARN]),
        ("ArnEquals", "arn:aws:s3:::buck?t", [ARN], ["arn:aws:s3:::bukt"]),
        ("ArnNotLike", "arn:aws:s3:::b*", ["arn:aws:s3:::c"], [ARN]),
        ("ArnNotEquals", ARN, ["arn:aws:s3:::c"], [ARN]),
        ("Bool", "true", ["true", "True"], ["false", "1"]),
        ("Bool", True, ["true"], ["false"]),
        ("BinaryEquals", "YWJj", ["YWJj"], ["YWJk", "not base64!"]),
        ("NumericEquals", "10", ["10", "10.0"], ["11", "x"]),
        ("NumericNotEquals", 10, ["11"], ["10"]),
        ("NumericLessThan", 10, ["9.5"], ["10", "x"]),
        ("NumericLessThanEquals", 10, ["10"], ["10.1"]),
        ("NumericGreaterThan", 10, ["11"], ["10"]),
        ("NumericGreaterThanEquals", 10, ["10"], ["9"]),
        ("DateEquals", "2026-01-01T00:00:00Z", ["2026-01-01T01:00:00+01:00", "1767225600"], ["2026-01-02", "x"]),
        ("DateNotEquals", "2026-01-01", ["2026-01-02"], ["2026-01-01"]),
        ("DateLessThan", "2026-01-01T00:00:00Z", ["2025-12-31T23:59:59Z"], ["2026-01-01T00:00:00Z"]),
        ("DateLessThanEquals", "2026-01-01", ["2026-01-01"], ["2026-01-02"]),
        ("DateGreaterThan", "2026-01-01", ["2026-01-02"], ["2026-01-01"]),
        ("DateGreaterThanEquals", "2026-01-01", ["2026-01-01"], ["2025-01-01"]),
        ("IpAddress", "10.1.0.0/16", ["10.1.2.3"], ["10.2.0.1", "::1", "nowhere"]),
        ("IpAddress", "2001:db8::/32", ["2001:db8::1"], ["10.1.2.3"]),
        ("NotIpAddress", "10.0.0.0/8", ["11.0.0.1"], ["10.9.9.9"]),
    ],
)
def test_operators(operator: str, policy: Any, yes: list[str], no: list[str]) -> None:
    for value in yes:
        assert applies({operator: {"aws:Key": policy}}, {"aws:key": (value,)}), value
    for value in no:
        assert not applies({operator: {"aws:Key": policy}}, {"aws:key": (value,)}), value


def test_every_operator_is_tested() -> None:
    tested = {case[0] for case in test_operators.pytestmark[0].args[1]}
    assert tested == OPERATORS.keys()


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_a_key_that_is_not_there_fails_plain_operators_and_satisfies_negated_ones(operator: str) -> None:
    condition = {"aws:Key": "1"}
    negated = OPERATORS[operator].negated
    assert applies({operator: condition}, {}) is negated
    assert applies({f"{operator}IfExists": condition}, {})
    assert applies({f"ForAllValues:{operator}": condition}, {})
    assert not applies({f"ForAnyValue:{operator}": condition}, {})
    # A Deny for what has not the key is what negated operators are for.
    deny = statement(Effect="Deny", Condition={operator: condition})
    assert (decided(deny, statement()) is Decision.DENIED) is negated


def test_if_exists_still_asks_when_the_key_is_there() -> None:
    assert not applies({"StringEqualsIfExists": {"k": "a"}}, {"k": ("b",)})
    assert applies({"StringEqualsIfExists": {"k": "a"}}, {"k": ("a",)})


def test_null_asks_whether_a_key_is_missing() -> None:
    for value, missing in (("true", True), ("false", False), (True, True), (False, False)):
        assert applies({"Null": {"aws:Key": value}}, {}) is missing
        assert applies({"Null": {"aws:Key": value}}, {"aws:key": ("x",)}) is not missing


def test_values_are_alternatives_and_keys_and_operators_all_have_to_hold() -> None:
    assert applies({"StringEquals": {"k": ["a", "b"]}}, {"k": ("b",)})
    assert not applies({"StringNotEquals": {"k": ["a", "b"]}}, {"k": ("b",)})
    both = {"StringEquals": {"k": "a", "l": "b"}, "Bool": {"m": "true"}}
    whole: Context = {"k": ("a",), "l": ("b",), "m": ("true",)}
    assert applies(both, whole)
    for key in whole:
        assert not applies(both, {**whole, key: ("other",)})


def test_quantifiers_over_keys_with_several_values() -> None:
    several: Context = {"k": ("a", "b")}
    assert applies({"ForAnyValue:StringEquals": {"k": ["b", "c"]}}, several)
    assert not applies({"ForAllValues:StringEquals": {"k": ["b", "c"]}}, several)
    assert applies({"ForAllValues:StringEquals": {"k": ["a", "b", "c"]}}, several)
    assert applies({"ForAnyValue:StringNotEquals": {"k": "a"}}, several)
    assert not applies({"ForAllValues:StringNotEquals": {"k": "a"}}, several)


def test_variables_are_filled_in_and_their_values_are_never_patterns() -> None:
    condition = {"StringLike": {"aws:Referer": "https://${aws:username}.example/*"}}
    assert applies(condition, {"aws:referer": ("https://ann.example/x",), "aws:username": ("ann",)})
    assert not applies(condition, {"aws:referer": ("https://ann.example/x",), "aws:username": ("*",)})
    assert not applies(condition, {"aws:referer": ("https://ann.example/x",)})
    assert applies({"StringEquals": {"k": "${aws:x, 'd'}"}}, {"k": ("d",)})
    assert applies({"StringLike": {"k": "a${*}"}}, {"k": ("a*",)})
    assert not applies({"StringLike": {"k": "a${*}"}}, {"k": ("ab",)})
    resource = statement(Resource="arn:aws:lambda:us-east-1:${aws:PrincipalAccount}:function:f")
    assert decided(resource, context={"aws:principalaccount": (ACCOUNT,)}) is Decision.ALLOWED
    assert decided(resource, context={"aws:principalaccount": ("1",)}) is Decision.NOT_MENTIONED


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_wildcards_are_what_they_are_elsewhere(pattern: str, text: str) -> None:
    def slow(rest: str, left: str) -> bool:
        if not rest:
            return not left
        if rest[0] == "*":
            return slow(rest[1:], left) or (bool(left) and slow(rest, left[1:]))
        return bool(left) and rest[0] in ("?", left[0]) and slow(rest[1:], left[1:])

    assert matches(pattern, text) is slow(pattern, text)


def test_no_pattern_is_slow() -> None:
    started = time.perf_counter()
    assert not matches("*a" * 500 + "b", "a" * 2_000)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("changes", "public"),
    [
        ({}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": ["*", ACCOUNT]}}, True),
        ({"Principal": None, "NotPrincipal": {"AWS": ACCOUNT}}, True),
        ({"Principal": {"AWS": ACCOUNT}}, False),
        ({"Principal": {"Service": "s3.amazonaws.com"}}, False),
        ({"Effect": "Deny"}, False),
        ({"Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}}, True),
        ({"Condition": {"StringEquals": {"AWS:SourceAccount": ACCOUNT}}}, False),
        ({"Condition": {"StringLike": {"aws:PrincipalArn": "*"}}}, True),
        ({"Condition": {"StringNotEquals": {"AWS:SourceAccount": ACCOUNT}}}, True),
        ({"Condition": {"StringEqualsIfExists": {"AWS:SourceAccount": ACCOUNT}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}, True),
        ({"Condition": {"ArnLike": {"AWS:SourceArn": ARN}}}, False),
    ],
)
def test_what_is_public(changes: dict[str, Any], public: bool) -> None:
    assert is_public(parse_statement(statement(**changes))) is public


@pytest.mark.parametrize(
    "element",
    [
        "text",
        None,
        statement(Effect="allow"),
        statement(Effect=None),
        statement(Principal=None),
        statement(NotPrincipal="*"),
        statement(Principal="someone"),
        statement(Principal={}),
        statement(Principal={"AWS": "arn:aws:iam::*:root"}),
        statement(Principal={"AWS": []}),
        statement(Principal={"Robot": "r2"}),
        statement(Action=None),
        statement(Action=7),
        statement(Action=[]),
        statement(NotAction="*"),
        statement(Resource=None),
        statement(Resource=[""]),
        statement(Condition=[]),
        statement(Condition={"StringAlmost": {"k": "v"}}),
        statement(Condition={"StringEquals": {}}),
        statement(Condition={"StringEquals": {"k": []}}),
        statement(Condition={"StringEquals": {"k": {"a": 1}}}),
        statement(Condition={"StringEquals": {"": "a"}}),
        statement(Condition={"NullIfExists": {"k": "true"}}),
        statement(Condition={"ForAnyValue:Null": {"k": "true"}}),
        statement(Conditions={}),
    ],
    ids=lambda element: json.dumps(element)[:80],
)
def test_what_is_no_statement_is_refused(element: object) -> None:
    with pytest.raises(MalformedPolicyError):
        parse_statement(element)


def test_conditions_are_read_once_and_keep_their_order() -> None:
    found = parse_conditions({"StringEquals": {"A": "x"}, "ForAnyValue:StringLikeIfExists": {"B": ["y", 1, True]}})
    assert [(one.operator, one.quantifier, one.if_exists, one.key, one.values) for one in found] == [
        ("StringEquals", "", False, "a", ("x",)),
        ("StringLike", "ForAnyValue:", True, "b", ("y", "1", "true")),
    ]
