"""Which records of a batch a function reports as failed.

Source: "Reporting batch item failures" in the Lambda developer guide's chapters on each source.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

from services.poller.mapping.contract import Format, LaneName

R = TypeVar("R")
I = TypeVar("I")  # noqa: E741


class _ItemFailure(msgspec.Struct, Generic[I]):
    itemIdentifier: I


class _PartialResponse(msgspec.Struct, Generic[I]):
    batchItemFailures: list[_ItemFailure[I]] | None = None


class PartialResponses(Generic[R]):
    """Reads the answers of one mapping's function. from_first: the first failed record counts, and all from it on are
    failed."""

    def __init__(self, record_format: Format[R], *, from_first: bool) -> None:
        self._format = record_format
        self._from_first = from_first
        response_type = _PartialResponse[record_format.item_type]  # type: ignore[name-defined]
        self._decoder = msgspec.json.Decoder(response_type)

    def failed(self, lane: LaneName, records: Sequence[R], payload: bytes) -> list[R]:
        """The records that must be tried again, in order; all of them where the answer cannot be understood."""
        if not payload:
            return []
        try:
            if not msgspec.json.decode(payload):
                return []
            failures = self._decoder.decode(payload).batchItemFailures
        except msgspec.DecodeError:
            return list(records)
        if not failures:
            return []
        reported = {failure.itemIdentifier for failure in failures}
        ids: list[Hashable] = [self._format.item_id(lane, record) for record in records]
        # An answer about records that were not sent says nothing about those that were: all are tried again.
        if not reported.issubset(ids):
            return list(records)
        if self._from_first:
            return list(records[next(at for at, item in enumerate(ids) if item in reported) :])
        return [record for record, item in zip(records, ids, strict=True) if item in reported]
