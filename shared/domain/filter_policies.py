"""Filter policies of subscriptions: event patterns in SNS's own bounds and words, asked of a message's attributes or its body.
Pure.

Source: "Subscription filter policies" in the SNS developer guide, and the texts that AWS was seen to answer.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any

from shared.domain.errors import LambdadError
from shared.domain.event_patterns import EventPattern, PatternError
from shared.domain.event_patterns.compiler import FILTER_POLICIES, RESERVED, read_number

KEYS_MAX = 5
COMBINATIONS_MAX = 150
CHARACTERS_MAX = 262_144


class Scope(enum.StrEnum):
    """What of a message a policy looks at."""

    ATTRIBUTES = "MessageAttributes"
    BODY = "MessageBody"


class FilterPolicyError(LambdadError):
    """The policy is none. The text follows `Invalid parameter: ` in AWS's answer."""


class FilterPolicy:
    """One policy, ready to be asked. text: as it is kept, without blanks. Raises FilterPolicyError."""

    def __init__(self, text: str, scope: Scope) -> None:
        tree = _parsed(text)
        self.scope = scope
        self.text = json.dumps(tree, separators=(",", ":"), ensure_ascii=False)
        try:
            self._pattern = EventPattern(self.text, language=FILTER_POLICIES)
        except PatternError as error:
            complex_ = str(error).startswith("Rule is too complex")
            raise FilterPolicyError(f"FilterPolicy: {'Filter policy is too complex' if complex_ else error}") from None
        # It is an object, or it would be no pattern.
        _check(tree, scope)

    def matches_attributes(self, attributes: Mapping[str, tuple[str, str]]) -> bool:
        """attributes: name to data type and value; of Binary, the value is not looked at."""
        return self._pattern.matches({name: _value(kind, text) for name, (kind, text) in attributes.items()})

    def matches_body(self, body: str) -> bool:
        """A body that is no JSON object matches nothing."""
        try:
            document = json.loads(body, parse_constant=_refuse)
            return isinstance(document, dict) and self._pattern.matches(document)
        except (ValueError, RecursionError):
            return False


def _parsed(text: str) -> Any:
    try:
        if len(text) > CHARACTERS_MAX:
            raise ValueError("too long")
        # What is no text at all (half of a surrogate pair) is not JSON to others, either.
        json.dumps(tree := json.loads(text, parse_constant=_refuse), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise FilterPolicyError("FilterPolicy: failed to parse JSON.") from None
    return tree


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _check(tree: dict[str, Any], scope: Scope) -> None:
    if scope is Scope.ATTRIBUTES and _is_nested(tree):
        raise FilterPolicyError("Filter policy scope MessageAttributes does not support nested filter policy")
    if len(tree) > KEYS_MAX:
        raise FilterPolicyError(f"FilterPolicy: Filter policy can not have more than {KEYS_MAX} keys")
    if _combinations(tree, 1) > COMBINATIONS_MAX:
        raise FilterPolicyError("FilterPolicy: Filter policy is too complex")


def _is_nested(tree: dict[str, Any]) -> bool:
    return any(isinstance(value, dict) or (_is_or(name, value) and any(map(_is_nested, value))) for name, value in tree.items())


def _is_or(name: str, value: Any) -> bool:
    """Whether `$or` has alternatives, or is a field that happens to have this name."""
    return (
        name == "$or"
        and len(value) >= 2
        and all(isinstance(option, dict) and option and not RESERVED & option.keys() for option in value)
    )


def _combinations(tree: dict[str, Any], depth: int) -> int:
    """Alternatives of all fields multiplied, each with the depth that it is at; those of `$or` added."""
    product = 1
    for name, value in tree.items():
        if isinstance(value, dict):
            product *= _combinations(value, depth + 1)
        elif _is_or(name, value):
            product *= sum(_combinations(option, depth) for option in value)
        else:
            product *= len(value) * depth
    return product


class _Opaque:
    """A value that is there and equals nothing, as bytes do."""


def _value(kind: str, text: str) -> Any:
    """An attribute as patterns see values: text, a number, or an array of these."""
    base = kind.partition(".")[0]
    if base == "Binary":
        return _Opaque()
    try:
        if kind == "String.Array":
            found = json.loads(text, parse_constant=_refuse)
            return found if isinstance(found, list) else text
        return read_number(text) if base == "Number" else text
    except (ValueError, RecursionError):
        return text
