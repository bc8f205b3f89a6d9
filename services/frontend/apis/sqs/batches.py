"""What the three batch operations have in common: which batches are refused as a whole, and how an entry's failure is told."""

from __future__ import annotations

import re
from typing import Any

from services.frontend.apis.sqs.errors import (
    BatchEntryIdsNotDistinct,
    EmptyBatchRequest,
    InvalidBatchEntryId,
    MissingRequiredParameterException,
    TooManyEntriesInBatchRequest,
)
from shared.aws.protocols.protocol import Params, query_code
from shared.aws.service_model import load_service_model
from shared.domain.errors import ApiError

ENTRIES_MAX = 10
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def entries_of(params: Params, kind: str) -> list[Params]:
    """kind: what an entry is called. Raises EmptyBatchRequest, TooManyEntriesInBatchRequest, InvalidBatchEntryId,
    BatchEntryIdsNotDistinct, MissingRequiredParameterException."""
    entries: list[Params] = [entry for entry in params.get("Entries") or () if entry is not None]
    if not entries:
        raise EmptyBatchRequest(kind)
    if len(entries) > ENTRIES_MAX:
        raise TooManyEntriesInBatchRequest(ENTRIES_MAX, len(entries))
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        entry_id = entry.get("Id")
        if entry_id is None:
            raise MissingRequiredParameterException(f"{kind}.{number}.Id")
        if _ID.fullmatch(entry_id) is None:
            raise InvalidBatchEntryId
        if entry_id in seen:
            raise BatchEntryIdsNotDistinct(entry_id)
        seen.add(entry_id)
    return entries


def failure(entry_id: str, error: ApiError) -> dict[str, Any]:
    """BatchResultErrorEntry: with the code of the query protocol, whatever the request's."""
    code = query_code(load_service_model("sqs"), error)
    return {"Id": entry_id, "Code": code, "Message": error.message, "SenderFault": error.status < 500}


def result(successful: list[dict[str, Any]], failed: list[dict[str, Any]]) -> dict[str, Any]:
    """What there is none of is left out, as AWS does whatever the model says."""
    found: dict[str, Any] = {}
    if successful:
        found["Successful"] = successful
    if failed:
        found["Failed"] = failed
    return found
