"""DeleteMessage, ChangeMessageVisibility and their batches: what becomes of messages that were received."""

from __future__ import annotations

from typing import Any

from services.frontend.apis.sqs import batches
from services.frontend.apis.sqs.context import SqsContext
from services.frontend.apis.sqs.errors import MissingRequiredParameterException, ReceiptHandleIsInvalid, bad_value
from services.frontend.apis.sqs.urls import queue_named
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ApiError
from shared.queues.records import VISIBILITY_S_MAX, Settlement


async def delete_message(context: SqsContext, call: Call, params: Params) -> None:
    name, handle = queue_named(call, params), params["ReceiptHandle"]
    with context.using(call.home, name) as queue:
        [settlement] = await context.queues.delete(queue, [handle])
    error = _deletion_error(settlement, handle)
    if error is not None:
        raise error


async def delete_message_batch(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    name = queue_named(call, params)
    kind = "DeleteMessageBatchRequestEntry"
    entries = batches.entries_of(params, kind)
    handles = [_required(entry, "ReceiptHandle", kind, number) for number, entry in enumerate(entries, 1)]
    with context.using(call.home, name) as queue:
        settlements = await context.queues.delete(queue, handles)
    errors = [_deletion_error(settlement, handle) for settlement, handle in zip(settlements, handles, strict=True)]
    return _result(entries, errors)


async def change_message_visibility(context: SqsContext, call: Call, params: Params) -> None:
    name, handle, visibility_s = queue_named(call, params), params["ReceiptHandle"], params["VisibilityTimeout"]
    error = _out_of_range(visibility_s)
    if error is not None:
        raise error
    with context.using(call.home, name) as queue:
        [settlement] = await context.queues.change_visibility(queue, [(handle, visibility_s)])
    error = _change_error(settlement, handle, visibility_s)
    if error is not None:
        raise error


async def change_message_visibility_batch(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    name = queue_named(call, params)
    kind = "ChangeMessageVisibilityBatchRequestEntry"
    entries = batches.entries_of(params, kind)
    changes = [
        (_required(entry, "ReceiptHandle", kind, number), entry.get("VisibilityTimeout", 0))
        for number, entry in enumerate(entries, 1)
    ]
    errors = [_out_of_range(visibility_s) for _, visibility_s in changes]
    good = [change for change, error in zip(changes, errors, strict=True) if error is None]
    with context.using(call.home, name) as queue:
        settlements = iter(await context.queues.change_visibility(queue, good) if good else ())
    errors = [
        _change_error(next(settlements), *change) if error is None else error
        for change, error in zip(changes, errors, strict=True)
    ]
    return _result(entries, errors)


def _required(entry: Params, name: str, kind: str, number: int) -> Any:
    if name not in entry:
        raise MissingRequiredParameterException(f"{kind}.{number}.{name}")
    return entry[name]


def _result(entries: list[Params], errors: list[ApiError | None]) -> dict[str, Any]:
    pairs = list(zip(entries, errors, strict=True))
    return batches.result(
        [{"Id": entry["Id"]} for entry, error in pairs if error is None],
        [batches.failure(entry["Id"], error) for entry, error in pairs if error is not None],
    )


def _out_of_range(visibility_s: int) -> ApiError | None:
    if 0 <= visibility_s <= VISIBILITY_S_MAX:
        return None
    return bad_value(
        visibility_s, "VisibilityTimeout", f"VisibilityTimeout must be an integer between 0 and {VISIBILITY_S_MAX}."
    )


def _deletion_error(settlement: Settlement, handle: str) -> ApiError | None:
    """A message that was received again since stays, and its deletion by an old handle is no error, as on AWS."""
    if settlement == "invalid":
        return ReceiptHandleIsInvalid(handle)
    if settlement == "expired":
        return _expired(handle)
    return None


def _change_error(settlement: Settlement, handle: str, visibility_s: int) -> ApiError | None:
    if settlement == "invalid":
        return ReceiptHandleIsInvalid(handle)
    if settlement == "expired":
        return _expired(handle)
    if settlement == "missing":
        return bad_value(handle, "ReceiptHandle", "Message does not exist or is not available for visibility timeout change.")
    if settlement == "too-far":
        reason = f"Total VisibilityTimeout for the message is beyond the limit [{VISIBILITY_S_MAX} seconds]."
        return bad_value(visibility_s, "VisibilityTimeout", reason)
    return None


def _expired(handle: str) -> ApiError:
    return bad_value(handle, "ReceiptHandle", "The receipt handle has expired.")
