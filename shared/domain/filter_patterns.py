"""AWS's event filter patterns, compiled once into nested matchers. Pure.

A pattern's leaf is an array of alternatives; fields are and-ed. Where a pattern is taken and where it is used, it is compiled
here: one that was accepted works. Source: "Control which events Lambda sends to your function" in the Lambda developer guide,
and "Comparison operators" in the EventBridge guide.
"""

from __future__ import annotations

import ipaddress
import json
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from shared.domain.errors import InvalidParameterValueException

INVALID_PATTERN = "Invalid filter pattern definition."
PATTERN_CHARS_MAX = 4_096
PATTERN_DEPTH_MAX = 32
OR_COMBINATIONS_MAX = 1_000
OPERATORS = frozenset(
    {"prefix", "suffix", "anything-but", "numeric", "exists", "equals-ignore-case", "wildcard", "cidr"},
)
NUMERIC: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Number(NamedTuple):
    """A JSON number with the text that it was written as: plain values are compared by their text."""

    text: str
    value: float


class _Missing:
    __slots__ = ()


MISSING = _Missing()
"""A field that the record does not have, or that is an object where the pattern wants a leaf."""

Matcher = Callable[[Any], bool]
"""Given a leaf's value (str, Number, True, False, None) or MISSING."""


def _number(text: str) -> Number:
    return Number(text, float(text))


def parse_json(text: str | bytes) -> Any:
    """JSON with numbers as `Number`. Raises ValueError."""
    return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_refuse_constant)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


class Pattern:
    """One compiled pattern. Raises InvalidParameterValueException when it is not one."""

    def __init__(self, text: str, *, data_field: str | None = None) -> None:
        """data_field: the field that holds the record's data, e.g. `value`; without_data leaves it out."""
        if len(text) > PATTERN_CHARS_MAX:
            raise InvalidParameterValueException(INVALID_PATTERN)
        try:
            tree = parse_json(text)
        except (ValueError, RecursionError):
            raise InvalidParameterValueException(INVALID_PATTERN) from None
        if not isinstance(tree, dict) or not tree:
            raise InvalidParameterValueException(INVALID_PATTERN)
        self.fields = frozenset(tree)
        self.data_is_text = data_field is not None and isinstance(tree.get(data_field), list)
        self._data_field = data_field
        self._tree = tree
        self._match = _compile(tree)
        if _combinations(tree) > OR_COMBINATIONS_MAX:
            raise InvalidParameterValueException(INVALID_PATTERN)

    def matches(self, event: Any) -> bool:
        return self._match(event)

    def without_data(self) -> Matcher | None:
        """The pattern on metadata alone, None when nothing is left of it (everything matches)."""
        rest = {name: part for name, part in self._tree.items() if name != self._data_field}
        return _compile(rest) if rest else None


def _compile(tree: dict[str, Any], depth: int = 1) -> Matcher:
    if depth > PATTERN_DEPTH_MAX:
        raise InvalidParameterValueException(INVALID_PATTERN)
    parts: list[Matcher] = []
    for name, part in tree.items():
        if name == "$or" and _is_or(part):
            parts.append(_any_of([_compile(option, depth + 1) for option in part]))
        elif isinstance(part, dict):
            if not part:
                raise InvalidParameterValueException(INVALID_PATTERN)
            parts.append(_nested(name, _compile(part, depth + 1)))
        elif isinstance(part, list) and part:
            parts.append(_leaf(name, [_operator(option) for option in part]))
        else:
            raise InvalidParameterValueException(INVALID_PATTERN)

    def match(value: Any) -> bool:
        return all(part(value) for part in parts)

    return match


def _is_or(part: Any) -> bool:
    return (
        isinstance(part, list)
        and len(part) >= 2
        and all(isinstance(option, dict) and option and not OPERATORS & option.keys() for option in part)
    )


def _any_of(options: list[Matcher]) -> Matcher:
    return lambda value: any(option(value) for option in options)


def _nested(name: str, inner: Matcher) -> Matcher:
    """A path goes through arrays of objects: any element will do."""

    def match(value: Any) -> bool:
        below = value.get(name, MISSING) if isinstance(value, dict) else MISSING
        if isinstance(below, list):
            return any(inner(element) for element in below)
        return inner(below)

    return match


def _leaf(name: str, options: list[Matcher]) -> Matcher:
    def match(value: Any) -> bool:
        found = value.get(name, MISSING) if isinstance(value, dict) else MISSING
        if isinstance(found, dict):
            found = MISSING
        if isinstance(found, list):
            leaves = [leaf for leaf in found if not isinstance(leaf, dict | list)]
            return any(option(leaf) for option in options for leaf in leaves or [MISSING])
        return any(option(found) for option in options)

    return match


def _operator(option: Any) -> Matcher:
    if isinstance(option, Number):
        return lambda value: isinstance(value, Number) and value.text == option.text
    if option is None or isinstance(option, bool):
        return lambda value: value is option
    if isinstance(option, str):
        return lambda value: isinstance(value, str) and value == option
    if isinstance(option, dict) and len(option) == 1:
        ((name, argument),) = option.items()
        if name in OPERATORS:
            return _BUILDERS[name](argument)
    raise InvalidParameterValueException(INVALID_PATTERN)


def _on_text(test: Callable[[str], bool]) -> Matcher:
    return lambda value: isinstance(value, str) and test(value)


def _text(argument: Any) -> str:
    if not isinstance(argument, str):
        raise InvalidParameterValueException(INVALID_PATTERN)
    return argument


def _prefix(argument: Any) -> Matcher:
    if isinstance(argument, dict) and argument.keys() == {"equals-ignore-case"}:
        start = _text(argument["equals-ignore-case"]).casefold()
        return _on_text(lambda value: value.casefold().startswith(start))
    start = _text(argument)
    return _on_text(lambda value: value.startswith(start))


def _suffix(argument: Any) -> Matcher:
    if isinstance(argument, dict) and argument.keys() == {"equals-ignore-case"}:
        end = _text(argument["equals-ignore-case"]).casefold()
        return _on_text(lambda value: value.casefold().endswith(end))
    end = _text(argument)
    return _on_text(lambda value: value.endswith(end))


def _ignore_case(argument: Any) -> Matcher:
    wanted = _text(argument).casefold()
    return _on_text(lambda value: value.casefold() == wanted)


def _exists(argument: Any) -> Matcher:
    if not isinstance(argument, bool):
        raise InvalidParameterValueException(INVALID_PATTERN)
    return lambda value: (value is not MISSING) is argument


def _anything_but(argument: Any) -> Matcher:
    if isinstance(argument, dict):
        if len(argument) != 1:
            raise InvalidParameterValueException(INVALID_PATTERN)
        ((name, inner),) = argument.items()
        if name not in {"prefix", "suffix", "equals-ignore-case", "wildcard"}:
            raise InvalidParameterValueException(INVALID_PATTERN)
        excluded = [_BUILDERS[name](one) for one in (inner if isinstance(inner, list) else [inner])]
    else:
        values = argument if isinstance(argument, list) else [argument]
        kinds = {Number if isinstance(one, Number) else type(one) for one in values}
        if not values or len(kinds) != 1 or kinds - {str, Number}:
            raise InvalidParameterValueException(INVALID_PATTERN)
        excluded = [_operator(one) for one in values]
    return lambda value: value is not MISSING and not any(match(value) for match in excluded)


def _numeric(argument: Any) -> Matcher:
    if not isinstance(argument, list) or len(argument) not in (2, 4):
        raise InvalidParameterValueException(INVALID_PATTERN)
    tests = []
    for name, bound in zip(argument[::2], argument[1::2], strict=True):
        if not isinstance(name, str) or name not in NUMERIC or not isinstance(bound, Number):
            raise InvalidParameterValueException(INVALID_PATTERN)
        tests.append((NUMERIC[name], bound.value))
    return lambda value: isinstance(value, Number) and all(test(value.value, bound) for test, bound in tests)


def _wildcard(argument: Any) -> Matcher:
    parts = _between_stars(_text(argument))
    first, *middle, last = parts if len(parts) > 1 else (parts[0], "")

    def test(value: str) -> bool:
        if len(parts) == 1:
            return value == first
        at, end = len(first), len(value) - len(last)
        if at > end or not value.startswith(first) or not value.endswith(last):
            return False
        for part in middle:
            # The earliest place is as good as any later one, so nothing is ever tried again.
            at = value.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True

    return _on_text(test)


def _between_stars(pattern: str) -> list[str]:
    """The literal parts of a wildcard pattern; a backslash makes a star, or a backslash, literal."""
    parts, at = [""], 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            if pattern[at + 1 : at + 2] == "*":
                raise InvalidParameterValueException(INVALID_PATTERN)
            parts.append("")
        elif char == "\\":
            at += 1
            if pattern[at : at + 1] not in ("*", "\\"):
                raise InvalidParameterValueException(INVALID_PATTERN)
            parts[-1] += pattern[at]
        else:
            parts[-1] += char
        at += 1
    return parts


def _cidr(argument: Any) -> Matcher:
    try:
        network = ipaddress.ip_network(_text(argument), strict=False)
    except ValueError:
        raise InvalidParameterValueException(INVALID_PATTERN) from None

    def test(value: str) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return _on_text(test)


_BUILDERS: dict[str, Callable[[Any], Matcher]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
    "equals-ignore-case": _ignore_case,
    "wildcard": _wildcard,
    "cidr": _cidr,
}


def _combinations(tree: dict[str, Any]) -> int:
    product = 1
    for name, part in tree.items():
        if name == "$or" and _is_or(part):
            product *= sum(_combinations(option) for option in part)
        elif isinstance(part, dict):
            product *= _combinations(part)
    return product
