"""A mapping's filters over Kafka records: several are or-ed.

Source: "Control which events Lambda sends to your function" in the Lambda developer guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord

from shared.domain.filter_patterns import Number, Pattern, parse_json

VALUE = "value"
"""The field of a Kafka record that holds its data."""


class RecordFilter:
    """The filters of a mapping. Raises InvalidParameterValueException for an invalid pattern."""

    def __init__(self, patterns: Sequence[str]) -> None:
        compiled = [Pattern(text, data_field=VALUE) for text in patterns]
        self._patterns = [(pattern, pattern.without_data()) for pattern in compiled]
        self._needs_value = any(VALUE in pattern.fields for pattern in compiled)

    def matches(self, record: ConsumerRecord) -> bool:
        """Any filter lets the record through. Where value and pattern differ in form, only metadata is compared."""
        event: dict[str, Any] = {
            "topic": record.topic,
            "partition": Number(str(record.partition), record.partition),
            "offset": Number(str(record.offset), record.offset),
            "timestamp": Number(str(record.timestamp), record.timestamp),
        }
        text: str | None = None
        document: Any = None
        if self._needs_value and record.value is not None:
            try:
                text = record.value.decode()
                document = parse_json(text)
            except (ValueError, RecursionError):
                document = None
        is_json = isinstance(document, dict | list)
        for pattern, metadata in self._patterns:
            if VALUE not in pattern.fields:
                comparable = True
            else:
                comparable = text is not None and pattern.data_is_text != is_json
            if comparable:
                event[VALUE] = document if is_json else text
                if pattern.matches(event):
                    return True
            elif metadata is None or metadata(event):
                return True
        return False
