"""Many patterns at once: those of the rules of one bus. Pure.

An event is read once for all of them. A branch is looked at only when the event has one of the values that it asks for at one
of its paths, its *anchor*: of the paths at which it asks for values alone, the one whose values the fewest others ask for. So
what an event costs does not grow with the rules that have nothing to do with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from shared.domain.event_patterns.compiler import Branch
from shared.domain.event_patterns.pattern import EventPattern, branch_holds
from shared.domain.event_patterns.values import Paths, Value

R = TypeVar("R")


class RuleSet(Generic[R]):
    """rules: whatever they are to the caller, and the pattern of each."""

    def __init__(self, rules: Mapping[R, EventPattern]) -> None:
        self._order = {rule: place for place, rule in enumerate(rules)}
        branches = [(rule, branch) for rule, pattern in rules.items() for branch in pattern.branches]
        self._paths = Paths(path for _, branch in branches for path in branch)
        self._anchored: dict[int, dict[Value, list[tuple[R, Branch]]]] = {}
        self._others: list[tuple[R, Branch]] = []
        asked = Counter((path, value) for _, branch in branches for path in _exact(branch) for value in branch[path].exact)
        for rule, branch in branches:
            paths = _exact(branch)
            if not paths:
                self._others.append((rule, branch))
                continue
            anchor = min(paths, key=lambda path: sum(asked[path, value] for value in branch[path].exact))
            by_value = self._anchored.setdefault(self._paths.slots[anchor], {})
            for value in branch[anchor].exact:
                by_value.setdefault(value, []).append((rule, branch))

    def matching(self, event: dict[str, Any]) -> list[R]:
        """The rules that an event matches, in the order in which they were given."""
        found = self._paths.values(event)
        slots = self._paths.slots
        matched = {rule for rule, branch in self._others if branch_holds(branch, slots, found, event)}
        for slot, by_value in self._anchored.items():
            for value in found.by_slot.get(slot, ()):
                for rule, branch in by_value.get(value, ()):
                    if rule not in matched and branch_holds(branch, slots, found, event):
                        matched.add(rule)
        return sorted(matched, key=self._order.__getitem__) if len(matched) > 1 else list(matched)


def _exact(branch: Branch) -> list[str]:
    """The paths at which values are asked for and nothing else will do."""
    return [path for path, held in branch.items() if held.exact and not held.tests and not held.absent]
