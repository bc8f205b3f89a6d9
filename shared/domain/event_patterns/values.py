"""A JSON document as patterns see it: the scalars at the paths that somebody asks for. Pure.

Paths are joined by dots, and a name with a dot in it is the same path as two names, as it is at AWS. Arrays are passed through:
each scalar in one is a value of the array's path, and an object in one is looked into. An empty array has no value.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from typing import Any


class Literal(enum.Enum):
    """What is neither text nor a number, so that sets do not take true for 1."""

    TRUE = "true"
    FALSE = "false"
    NULL = "null"


LITERALS = {True: Literal.TRUE, False: Literal.FALSE, None: Literal.NULL}

Value = str | float | Literal


class Number(float):
    """A JSON number that equals another only where both are written alike; ordered by what it is worth."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Number:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and self.text == other.text

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.text)


def parse_json(text: str | bytes) -> Any:
    """JSON with numbers as `Number`. Raises ValueError."""
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


class Wanted:
    """Names that some path begins with, and after each what goes on from there. slot: the number of the path that ends here."""

    __slots__ = ("below", "slot")

    def __init__(self) -> None:
        self.below: dict[str, Wanted] = {}
        self.slot = -1

    def step(self, name: str) -> Wanted | None:
        """name: of a member, in which dots are steps of their own."""
        found = self.below.get(name)
        if found is None and "." in name:
            found = self
            for part in name.split("."):
                found = found.below.get(part) if found is not None else None
        return found


class Paths:
    """The paths that are asked for. Each has a number, its slot."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.slots: dict[str, int] = {}
        self._root = Wanted()
        for path in paths:
            self._add(path)

    def _add(self, path: str) -> None:
        if path in self.slots:
            return
        node = self._root
        for name in path.split("."):
            node = node.below.setdefault(name, Wanted())
        node.slot = self.slots[path] = len(self.slots)

    def values(self, document: dict[str, Any]) -> Found:
        found = Found()
        _collect(self._root, document, found)
        return found


class Found:
    """by_slot: the values at each path that has one. nested: some are in objects that are in arrays, so that which of them are
    together is not told by their paths."""

    __slots__ = ("by_slot", "nested")

    def __init__(self) -> None:
        self.by_slot: dict[int, list[Value]] = {}
        self.nested = False


def _collect(node: Wanted, value: dict[str, Any], found: Found) -> None:
    for name, member in value.items():
        below = node.step(name)
        if below is None:
            continue
        if isinstance(member, dict):
            _collect(below, member, found)
        elif isinstance(member, list):
            _collect_array(below, member, found)
        elif below.slot >= 0:
            scalar = LITERALS[member] if member is None or member is True or member is False else member
            found.by_slot.setdefault(below.slot, []).append(scalar)


def _collect_array(node: Wanted, elements: list[Any], found: Found) -> None:
    for element in elements:
        if isinstance(element, dict):
            found.nested = True
            _collect(node, element, found)
        elif isinstance(element, list):
            found.nested = True
            _collect_array(node, element, found)
        elif node.slot >= 0:
            scalar = LITERALS[element] if element is None or element is True or element is False else element
            found.by_slot.setdefault(node.slot, []).append(scalar)
