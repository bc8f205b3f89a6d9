"""A mapping's filters over the records of its source: several are or-ed.

Source: "Control which events Lambda sends to your function" in the Lambda developer guide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from services.poller.mapping.contract import FilterView
from shared.domain.event_patterns import parse_json
from shared.domain.filter_patterns import Pattern

R = TypeVar("R")


class RecordFilter(Generic[R]):
    """The filters of a mapping. Raises InvalidParameterValueException for an invalid pattern."""

    def __init__(self, patterns: Sequence[str], data_field: str | None, view_of: Callable[[R], FilterView]) -> None:
        """data_field: of the mapping's kind (shared/domain/mappings). view_of: the format's filter_view."""
        compiled = [Pattern(text, data_field=data_field) for text in patterns]
        self._patterns = [(pattern, data_field in pattern.fields, pattern.without_data()) for pattern in compiled]
        self._needs_data = any(needs for _, needs, _ in self._patterns)
        self._data_field = data_field
        self._view_of = view_of

    def matches(self, record: R) -> bool:
        """Any filter lets the record through. Where data and pattern differ in form, only metadata is compared."""
        event, data = self._view_of(record)
        text: str | None = None
        document: Any = None
        if self._needs_data and data is not None:
            text, document = _read(data)
        is_json = isinstance(document, dict | list)
        for pattern, needs_data, metadata in self._patterns:
            if not needs_data:
                comparable = True
            else:
                comparable = (text is not None or is_json) and pattern.data_is_text != is_json
            if comparable:
                if self._data_field is not None:
                    event[self._data_field] = document if is_json else text
                if pattern.matches(event):
                    return True
            elif metadata is None or metadata(event):
                return True
        return False


def _read(data: bytes | str | dict[str, Any] | list[Any]) -> tuple[str | None, Any]:
    """(text, document): document is None where the data are no JSON, text where they are no text."""
    if isinstance(data, dict | list):
        return None, data
    text: str | None = None
    try:
        text = data if isinstance(data, str) else data.decode()
        return text, parse_json(text)
    except (ValueError, RecursionError):
        return text, None
