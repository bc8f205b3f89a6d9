"""One compiled pattern. Pure."""

from __future__ import annotations

from typing import Any

from shared.domain.event_patterns.compiler import (
    EVENT_PATTERNS,
    Branch,
    Condition,
    Language,
    ReadNumber,
    compile_pattern,
    read_number,
)
from shared.domain.event_patterns.complexity import too_complex
from shared.domain.event_patterns.values import LITERALS, Found, Literal, Paths, Value


class EventPattern:
    """Raises PatternError for what is none. number: what numbers of the pattern, and so of events, are compared as."""

    def __init__(self, text: str, number: ReadNumber = read_number, language: Language = EVENT_PATTERNS) -> None:
        self.branches = compile_pattern(text, number, language)
        self._prepare()

    def _prepare(self) -> None:
        self.paths = frozenset(path for branch in self.branches for path in branch)
        self._paths = Paths(self.paths)

    @property
    def too_complex(self) -> bool:
        """Whether the wildcards of a field may match in more places at once than AWS lets a rule's."""
        return any(too_complex(condition.wildcards) for branch in self.branches for condition in branch.values())

    def without(self, name: str) -> EventPattern | None:
        """The pattern on everything but a field and what is below it; None when a branch of it asks for nothing else."""
        rest = [{path: held for path, held in branch.items() if not is_below(path, name)} for branch in self.branches]
        if not all(rest):
            return None
        copied = EventPattern.__new__(EventPattern)
        copied.branches = rest
        copied._prepare()
        return copied

    def matches(self, event: dict[str, Any]) -> bool:
        """event: as its JSON was parsed, numbers as they are compared."""
        found = self._paths.values(event)
        slots = self._paths.slots
        return any(branch_holds(branch, slots, found, event) for branch in self.branches)


def is_below(path: str, name: str) -> bool:
    return path == name or path.startswith(name + ".")


def branch_holds(branch: Branch, slots: dict[str, int], found: Found, event: dict[str, Any]) -> bool:
    """slots, found: of paths among which are the branch's, and what the event has there."""
    by_slot = found.by_slot
    asked: list[str] = []
    for path, condition in branch.items():
        values = by_slot.get(slots[path])
        if values is None:
            if not condition.absent:
                return False
        elif condition.holds(values):
            asked.append(path)
        else:
            return False
    if not found.nested or len(asked) < 2:
        return True
    # Of values in objects of one array, those of the same object have to hold together.
    return _holds_together(_tree({path: branch[path] for path in asked}), event)


class _Together:
    __slots__ = ("below", "condition")

    def __init__(self) -> None:
        self.below: dict[str, _Together] = {}
        self.condition: Condition | None = None


def _tree(conditions: Branch) -> _Together:
    root = _Together()
    for path, condition in conditions.items():
        node = root
        for name in path.split("."):
            node = node.below.setdefault(name, _Together())
        node.condition = condition
    return root


def _holds_together(node: _Together, value: Any) -> bool:
    if node.condition is not None and not node.condition.holds(_scalars(value)):
        return False
    if not node.below:
        return True
    if isinstance(value, list):
        return any(_below_holds(node, element) for element in value if isinstance(element, dict | list))
    return _below_holds(node, value)


def _below_holds(node: _Together, value: Any) -> bool:
    if isinstance(value, list):
        return any(_below_holds(node, element) for element in value)
    if not isinstance(value, dict):
        return False
    return all(any(_holds_together(below, member) for member in _members(value, name)) for name, below in node.below.items())


def _members(value: dict[str, Any], name: str) -> list[Any]:
    """What an object has at a step: the member of that name, and what members have below it whose names have dots."""
    found = [value[name]] if name in value else []
    start = name + "."
    found += [{other[len(start) :]: member} for other, member in value.items() if other.startswith(start)]
    return found


def _scalars(value: Any) -> list[Value]:
    if isinstance(value, list):
        return [scalar for element in value if not isinstance(element, dict) for scalar in _scalars(element)]
    if isinstance(value, dict):
        return []
    literal: Literal | None = LITERALS[value] if value is None or isinstance(value, bool) else None
    return [value if literal is None else literal]
