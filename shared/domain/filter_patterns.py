"""Filters of event source mappings: event patterns over records, whose plain numbers are compared as they are written. Pure.

Source: "Control which events Lambda sends to your function" in the Lambda developer guide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.domain.errors import InvalidParameterValueException
from shared.domain.event_patterns import EventPattern, Number, PatternError
from shared.domain.event_patterns.pattern import is_below

INVALID_PATTERN = "Invalid filter pattern definition."
PATTERN_CHARS_MAX = 4_096

Matcher = Callable[[Any], bool]
"""Given a record as filters see it."""


class Pattern:
    """One compiled pattern. Raises InvalidParameterValueException when it is not one."""

    def __init__(self, text: str, *, data_field: str | None = None) -> None:
        """data_field: the field that holds the record's data, e.g. `value`; without_data leaves it out."""
        if len(text) > PATTERN_CHARS_MAX:
            raise InvalidParameterValueException(INVALID_PATTERN)
        try:
            self._pattern = EventPattern(text, Number)
        except PatternError:
            raise InvalidParameterValueException(INVALID_PATTERN) from None
        self.fields = frozenset(path.partition(".")[0] for path in self._pattern.paths)
        self.data_is_text = data_field in self._pattern.paths
        self._data_field = data_field

    def matches(self, event: Any) -> bool:
        return self._pattern.matches(event)

    def without_data(self) -> Matcher | None:
        """The pattern on metadata alone, None when nothing is left of it (everything matches)."""
        if self._data_field is None or not any(is_below(path, self._data_field) for path in self._pattern.paths):
            return self._pattern.matches
        rest = self._pattern.without(self._data_field)
        return rest.matches if rest is not None else None
