"""The Condition element of policy statements: operators over what is known of a request.

Source: the IAM user guide's reference of condition operators. A negated operator holds when no value of the policy matches; a
key that the request lacks fails a plain operator and satisfies a negated one.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

Context = Mapping[str, tuple[str, ...]]
"""What is known of a request, by condition key in lower case: keys are compared without regard to case."""
ARN_PARTS = 6
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class MalformedPolicyError(ValueError):
    """A policy that cannot mean anything; the text says which part of it."""


class Wildcard(msgspec.Struct, frozen=True):
    """`*` and `?` of a pattern, kept apart from the same characters in a value that was filled in."""

    many: bool


_MANY, _ONE = Wildcard(True), Wildcard(False)
Token = str | Wildcard


def matches(pattern: str, text: str, context: Context | None = None) -> bool:
    """Whether a text fits a pattern with `*` and `?`, in at most len(pattern) * len(text) steps.

    context: for policy variables, as ${aws:username}; without it they are plain text.
    """
    tokens = tokenize(pattern, context, wild=True)
    return tokens is not None and match_tokens(tokens, text)


def tokenize(pattern: str, context: Context | None, *, wild: bool) -> list[Token] | None:
    """A pattern's characters; None when it has a variable that the request has no single value for."""
    if context is None or "${" not in pattern:
        return _plain(pattern, wild=wild)
    tokens: list[Token] = []
    at = 0
    for variable in _VARIABLE.finditer(pattern):
        tokens += _plain(pattern[at : variable.start()], wild=wild)
        value = _value_of(variable[1], context)
        if value is None:
            return None
        tokens += value
        at = variable.end()
    return tokens + _plain(pattern[at:], wild=wild)


def _plain(text: str, *, wild: bool) -> list[Token]:
    if not wild:
        return list(text)
    return [_MANY if char == "*" else _ONE if char == "?" else char for char in text]


def _value_of(variable: str, context: Context) -> str | None:
    if variable in ("*", "?", "$"):
        return variable
    name, comma, default = variable.partition(",")
    values = context.get(name.strip().lower(), ())
    if len(values) == 1:
        return values[0]
    default = default.strip()
    return default[1:-1] if comma and len(default) >= 2 and default[0] == default[-1] == "'" else None


def match_tokens(tokens: list[Token], text: str) -> bool:
    """On a mismatch the last `*` takes one character more: no pattern is slower than that."""
    at = position = 0
    star, resume = -1, 0
    while position < len(text):
        token = tokens[at] if at < len(tokens) else None
        if token is _MANY:
            star, resume = at, position
            at += 1
        elif token is _ONE or token == text[position]:
            at += 1
            position += 1
        elif star >= 0:
            resume += 1
            at, position = star + 1, resume
        else:
            return False
    return all(token is _MANY for token in tokens[at:])


Compare = Callable[[str, str, Context], bool]
"""(value of the policy, value of the request, everything known of the request) -> whether they match."""


def _string_equals(expected: str, found: str, context: Context) -> bool:
    tokens = tokenize(expected, context, wild=False)
    return tokens is not None and match_tokens(tokens, found)


def _string_equals_ignoring_case(expected: str, found: str, context: Context) -> bool:
    return _string_equals(expected.lower(), found.lower(), context)


def _string_like(expected: str, found: str, context: Context) -> bool:
    return matches(expected, found, context)


def _arn_like(expected: str, found: str, context: Context) -> bool:
    """Part by part: a wildcard does not reach over a colon, but in the last part."""
    patterns, parts = expected.split(":", ARN_PARTS - 1), found.split(":", ARN_PARTS - 1)
    if len(patterns) != ARN_PARTS or len(parts) != ARN_PARTS:
        return False
    return all(matches(pattern, part, context) for pattern, part in zip(patterns, parts, strict=True))


def _bool(expected: str, found: str, context: Context) -> bool:
    return expected.lower() == found.lower()


def _binary(expected: str, found: str, context: Context) -> bool:
    try:
        return base64.b64decode(expected, validate=True) == base64.b64decode(found, validate=True)
    except (binascii.Error, ValueError):
        return False


def _ip_address(expected: str, found: str, context: Context) -> bool:
    try:
        return ipaddress.ip_address(found) in ipaddress.ip_network(expected, strict=False)
    except ValueError:
        return False


def _numeric(compare: Callable[[float, float], bool]) -> Compare:
    def compared(expected: str, found: str, context: Context) -> bool:
        try:
            return compare(float(found), float(expected))
        except ValueError:
            return False

    return compared


def _date(compare: Callable[[float, float], bool]) -> Compare:
    def compared(expected: str, found: str, context: Context) -> bool:
        try:
            return compare(_moment(found), _moment(expected))
        except (ValueError, OverflowError):
            return False

    return compared


def _moment(text: str) -> float:
    """Unix seconds from ISO 8601 or from a number of seconds."""
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Operator(msgspec.Struct, frozen=True):
    compare: Compare
    negated: bool = False


_ORDERS: tuple[tuple[str, Callable[[float, float], bool]], ...] = (
    ("LessThan", lambda found, expected: found < expected),
    ("LessThanEquals", lambda found, expected: found <= expected),
    ("GreaterThan", lambda found, expected: found > expected),
    ("GreaterThanEquals", lambda found, expected: found >= expected),
)


def _equal(found: float, expected: float) -> bool:
    return found == expected


OPERATORS: dict[str, Operator] = {
    "StringEquals": Operator(_string_equals),
    "StringNotEquals": Operator(_string_equals, negated=True),
    "StringEqualsIgnoreCase": Operator(_string_equals_ignoring_case),
    "StringNotEqualsIgnoreCase": Operator(_string_equals_ignoring_case, negated=True),
    "StringLike": Operator(_string_like),
    "StringNotLike": Operator(_string_like, negated=True),
    "ArnEquals": Operator(_arn_like),
    "ArnLike": Operator(_arn_like),
    "ArnNotEquals": Operator(_arn_like, negated=True),
    "ArnNotLike": Operator(_arn_like, negated=True),
    "Bool": Operator(_bool),
    "BinaryEquals": Operator(_binary),
    "IpAddress": Operator(_ip_address),
    "NotIpAddress": Operator(_ip_address, negated=True),
    "NumericEquals": Operator(_numeric(_equal)),
    "NumericNotEquals": Operator(_numeric(_equal), negated=True),
    "DateEquals": Operator(_date(_equal)),
    "DateNotEquals": Operator(_date(_equal), negated=True),
    **{f"Numeric{name}": Operator(_numeric(compare)) for name, compare in _ORDERS},
    **{f"Date{name}": Operator(_date(compare)) for name, compare in _ORDERS},
}
NULL = "Null"
IF_EXISTS = "IfExists"
FOR_ALL, FOR_ANY = "ForAllValues:", "ForAnyValue:"


class Condition(msgspec.Struct, frozen=True):
    """One operator on one key. quantifier: FOR_ALL, FOR_ANY or empty. key: in lower case."""

    operator: str
    quantifier: str
    if_exists: bool
    key: str
    values: tuple[str, ...]

    def holds(self, context: Context) -> bool:
        found = context.get(self.key)
        if self.operator == NULL:
            return any((found is None) == (value.lower() == "true") for value in self.values)
        operator = OPERATORS[self.operator]
        if found is None:
            return self.if_exists or self.quantifier == FOR_ALL or (operator.negated and self.quantifier != FOR_ANY)
        results = [self._fits(operator, value, context) for value in found]
        if self.quantifier == FOR_ALL or (operator.negated and self.quantifier != FOR_ANY):
            return all(results)
        return any(results)

    def _fits(self, operator: Operator, found: str, context: Context) -> bool:
        return any(operator.compare(expected, found, context) for expected in self.values) != operator.negated


def parse_conditions(element: object) -> tuple[Condition, ...]:
    """The conditions of a statement's Condition element, all of which must hold. Raises MalformedPolicyError."""
    if not isinstance(element, dict):
        raise MalformedPolicyError("Condition must be an object")
    found = []
    for operator, keys in element.items():
        quantifier = next((prefix for prefix in (FOR_ALL, FOR_ANY) if operator.startswith(prefix)), "")
        name = operator.removeprefix(quantifier)
        if_exists = name.endswith(IF_EXISTS) and name != NULL + IF_EXISTS
        name = name.removesuffix(IF_EXISTS) if if_exists else name
        if name not in OPERATORS and (name != NULL or quantifier):
            raise MalformedPolicyError(f"{operator} is not a condition operator")
        if not isinstance(keys, dict) or not keys:
            raise MalformedPolicyError(f"{operator} must name condition keys")
        for key, values in keys.items():
            if not key:
                raise MalformedPolicyError(f"{operator} has a condition key without a name")
            found.append(Condition(name, quantifier, if_exists, key.lower(), _values(operator, key, values)))
    return tuple(found)


def _values(operator: str, key: str, values: object) -> tuple[str, ...]:
    listed = values if isinstance(values, list) else [values]
    if not listed or not all(isinstance(value, str | bool | int | float) for value in listed):
        raise MalformedPolicyError(f"{operator} {key} must have a value or a list of values")
    return tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in listed)
