"""The service model's constraints, checked with AWS's texts: every violation of a request in one ValidationException."""

from __future__ import annotations

import functools
import re
from decimal import Decimal
from typing import Any

from shared.aws.patterns import compile_pattern
from shared.aws.recorded_texts import RecordedTexts, texts_of
from shared.aws.service_model import Kind, Operation, Shape
from shared.domain.errors import ValidationException

PATTERN_CHARACTERS_MAX = 20_480
"""A longer value breaks its length constraint anyway; matching a pattern against megabytes would hold up everybody."""
VIOLATIONS_MAX = 50

_REALS = (Kind.DOUBLE, Kind.FLOAT)
_NUMBERS = (Kind.INTEGER, Kind.LONG, *_REALS)


def validate(operation: Operation, params: dict[str, Any]) -> None:
    """Raise ValidationException naming every constraint that `params` (from `parsing`) breaks, in the model's order."""
    if operation.input is None:
        return
    found = _Violations(operation.name, texts_of(operation.service))
    found.structure(operation.input, params, "")
    if found.texts:
        noun = "error" if len(found.texts) == 1 else "errors"
        raise ValidationException(f"{len(found.texts)} validation {noun} detected: {'; '.join(found.texts)}")


class _Violations:
    def __init__(self, operation: str, recorded: RecordedTexts) -> None:
        self._operation = operation
        self._recorded = recorded
        self.texts: list[str] = []

    def structure(self, shape: Shape, params: dict[str, Any], prefix: str) -> None:
        first = self._recorded.members_first.get(shape.name, ())
        for name in (*first, *(name for name in shape.members if name not in first)):
            member = shape.members[name]
            value = params.get(name)
            path = prefix + name[:1].lower() + name[1:]
            if value is not None:
                self._value(member.shape, value, path)
            elif name in shape.required:
                self._add(f"Value null at '{path}' failed to satisfy constraint: Member must not be null")

    def _value(self, shape: Shape, value: Any, path: str) -> None:
        if shape.kind is Kind.STRUCTURE:
            self.structure(shape, value, f"{path}.")
            return
        for text in self._broken(shape, value, path):
            self._complain(shape, value, path, text)
        if shape.kind is Kind.LIST and shape.element is not None:
            self._list(shape, shape.element, value, path)
        elif shape.kind is Kind.MAP and shape.element is not None and shape.key is not None:
            self._map(shape, shape.key, shape.element, value, path)

    def _list(self, shape: Shape, element: Shape, value: list[Any], path: str) -> None:
        if element.kind in (Kind.STRUCTURE, Kind.LIST, Kind.MAP):
            for index, item in enumerate(value, 1):
                if item is None:
                    self._add(f"Value null at '{path}.{index}.member' failed to satisfy constraint: Member must not be null")
                else:
                    self._value(element, item, f"{path}.{index}.member")
            return
        if any(item is None or self._broken(element, item, path) for item in value):
            if shape.name in self._recorded.plain_list_choices and None not in value:
                self._complain(shape, value, path, self._choices_text(element, path))
                return
            self._complain_of_members(shape, element, value, path, "Member", nulls=None in value)

    def _map(self, shape: Shape, key: Shape, element: Shape, value: dict[str, Any], path: str) -> None:
        if any(self._broken(key, name, path) for name in value):
            texts = ", ".join(self._constraints(key, path))
            self._complain(shape, value, path, f"Map keys must satisfy constraint: [{texts}]")
        if element.kind in (Kind.STRUCTURE, Kind.LIST, Kind.MAP):
            for name, item in value.items():
                self._value(element, item, f"{path}.{name}.member")
        elif any(item is None or self._broken(element, item, path) for item in value.values()):
            self._complain_of_members(shape, element, value, path, "Map value", nulls=None in value.values())

    def _complain_of_members(
        self, shape: Shape, member: Shape, value: Any, path: str, what: str, *, nulls: bool = False
    ) -> None:
        """Of a list or map: all that its members have to satisfy, whatever one of them breaks."""
        texts = self._constraints(member, path)
        if nulls or shape.name not in self._recorded.member_may_be_null:
            texts.append("Member must not be null")
        self._complain(shape, value, path, f"{what} must satisfy constraint: [{', '.join(texts)}]")

    def _complain(self, shape: Shape, value: Any, path: str, constraint: str) -> None:
        shown = "Value" if shape.sensitive else f"Value '{_shown(value)}'"
        self._add(f"{shown} at '{path}' failed to satisfy constraint: {constraint}")

    def _add(self, text: str) -> None:
        if len(self.texts) < VIOLATIONS_MAX:
            self.texts.append(text)

    def _broken(self, shape: Shape, value: Any, path: str) -> list[str]:
        """The constraints of the shape itself that the value breaks, in AWS's words: pattern, then smallest, then largest."""
        broken = []
        if shape.pattern is not None and not _matches(self._pattern(shape), value):
            broken.append(_pattern_text(self._pattern(shape)))
        if shape.choices and not self._allowed(shape, value, path):
            broken.append(self._choices_text(shape, path))
        if shape.minimum is not None or shape.maximum is not None:
            size = value if shape.kind in _NUMBERS else len(value)
            if shape.minimum is not None and size < shape.minimum:
                broken.append(_minimum_text(shape))
            left = shape.name in self._recorded.maximum_left_to_the_operation
            if shape.maximum is not None and size > shape.maximum and not left:
                broken.append(_maximum_text(shape))
        return broken

    def _constraints(self, shape: Shape, path: str) -> list[str]:
        """All constraints of a shape, broken or not: AWS lists them for members of lists and maps, largest first."""
        texts = []
        if shape.maximum is not None:
            texts.append(_maximum_text(shape))
        if shape.minimum is not None:
            texts.append(_minimum_text(shape))
        if shape.pattern is not None:
            texts.append(_pattern_text(self._pattern(shape)))
        if shape.choices:
            texts.append(self._choices_text(shape, path))
        return texts

    def _pattern(self, shape: Shape) -> str:
        return self._recorded.patterns.get(shape.name) or shape.pattern or ""

    def _allowed(self, shape: Shape, value: str, path: str) -> bool:
        if (self._operation, path) in self._recorded.left_to_the_operation:
            return True
        return value in shape.choices or value in self._recorded.choices_at.get((self._operation, path), ())

    def _choices_text(self, shape: Shape, path: str) -> str:
        choices = (
            self._recorded.choices_at.get((self._operation, path)) or self._recorded.choices.get(shape.name) or shape.choices
        )
        return f"Member must satisfy enum value set: [{', '.join(choices)}]"


def _minimum_text(shape: Shape) -> str:
    what = "value" if shape.kind in _NUMBERS else "length"
    return f"Member must have {what} greater than or equal to {_bound(shape, shape.minimum)}"


def _maximum_text(shape: Shape) -> str:
    what = "value" if shape.kind in _NUMBERS else "length"
    return f"Member must have {what} less than or equal to {_bound(shape, shape.maximum)}"


def _pattern_text(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


def _bound(shape: Shape, value: float | None) -> str:
    return _real(float(value or 0)) if shape.kind in _REALS else str(int(value or 0))


def _real(value: float) -> str:
    """A finite number as Java prints a Double: 1.0, 1.0E7."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return f"{Decimal(repr(value)):f}"
    digits, _, exponent = f"{Decimal(repr(value)).normalize():E}".partition("E")
    return f"{digits if '.' in digits else f'{digits}.0'}E{int(exponent)}"


def _matches(pattern: str, value: str) -> bool:
    if len(value) > PATTERN_CHARACTERS_MAX:
        return True
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """At first use: a whole model has about ninety patterns, a process needs few of them. None: Python has no words for it."""
    try:
        return compile_pattern(pattern)
    except re.error:
        return None


def _shown(value: Any) -> str:
    """A value as AWS's Java prints it."""
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_shown(item)}" for key, item in value.items()) + "}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, float):
        return _real(value)
    return str(value)
