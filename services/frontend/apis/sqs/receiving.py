"""ReceiveMessage."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from services.frontend.apis.sqs.attributes import KNOWN
from services.frontend.apis.sqs.context import SqsContext
from services.frontend.apis.sqs.errors import UnknownAttribute, bad_value
from services.frontend.apis.sqs.messages import check_id, md5_of_attributes
from services.frontend.apis.sqs.urls import FIFO_SUFFIX, queue_named
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.queues.records import RECEIVED_MAX, VISIBILITY_S_MAX, Attribute, Received

WAIT_S_MAX = 20
SYSTEM_ATTRIBUTES = (
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
)
_MAY_BE_ASKED_FOR = KNOWN.union(SYSTEM_ATTRIBUTES)


async def receive_message(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    """Waits for a message as long as it is asked to, and no longer than its client does."""
    name = queue_named(call, params)
    count, visibility_s, wait_s = _checked(params)
    system = _system_names(call, params)
    attempt = params.get("ReceiveRequestAttemptId") if name.endswith(FIFO_SUFFIX) else None
    if attempt is not None:
        check_id(attempt, "ReceiveRequestAttemptId")
    if wait_s != 0 and call.end_with_client is not None:
        call.end_with_client()
    with context.using(call.home, name) as queue:
        received = await context.queues.receive(
            queue, count_max=count, visibility_s=visibility_s, wait_s=wait_s, attempt_id=attempt
        )
    if not received:
        return {}
    names = params.get("MessageAttributeNames") or ()
    return {"Messages": [_message(each, system, names) for each in received]}


def _checked(params: Params) -> tuple[int, int | None, int | None]:
    """(how many, visibility timeout, wait); None is the queue's own. Raises InvalidParameterValueException."""
    count, visibility_s, wait_s = (params.get(name) for name in ("MaxNumberOfMessages", "VisibilityTimeout", "WaitTimeSeconds"))
    if count is not None and not 1 <= count <= RECEIVED_MAX:
        raise bad_value(count, "MaxNumberOfMessages", f"Must be between 1 and {RECEIVED_MAX}, if provided.")
    if visibility_s is not None and not 0 <= visibility_s <= VISIBILITY_S_MAX:
        raise bad_value(visibility_s, "VisibilityTimeout", f"Must be >= 0 and <= {VISIBILITY_S_MAX}, if provided.")
    if wait_s is not None and not 0 <= wait_s <= WAIT_S_MAX:
        raise bad_value(wait_s, "WaitTimeSeconds", f"Must be >= 0 and <= {WAIT_S_MAX}, if provided.")
    return count or 1, visibility_s, wait_s


def _system_names(call: Call, params: Params) -> Collection[str]:
    """Two parameters say which. Where both do, the newer one holds in JSON and the older one in the query protocol."""
    older, newer = params.get("AttributeNames"), params.get("MessageSystemAttributeNames")
    names = (older or newer if call.protocol == "query" else newer or older) or ()
    for name in names:
        if name not in _MAY_BE_ASKED_FOR:
            raise UnknownAttribute(name)
    return SYSTEM_ATTRIBUTES if "All" in names else names


def _message(received: Received, system: Collection[str], names: Collection[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "MessageId": received.message_id,
        "ReceiptHandle": received.receipt_handle,
        "MD5OfBody": received.md5_of_body,
        "Body": received.body.decode(errors="replace"),
    }
    if system:
        attributes = _system_attributes(received, system)
        if attributes:
            found["Attributes"] = attributes
    if names and received.attributes:
        chosen = {name: each for name, each in received.attributes.items() if _is_chosen(name, names)}
        if chosen:
            found["MD5OfMessageAttributes"] = md5_of_attributes(chosen)
            found["MessageAttributes"] = {name: _shown(each) for name, each in chosen.items()}
    return found


def _system_attributes(received: Received, names: Collection[str]) -> dict[str, str]:
    values = (
        received.sender_id or None,
        str(received.sent_at_ms),
        str(received.receive_count),
        str(received.first_received_at_ms),
        received.sequence_number,
        received.deduplication_id,
        received.group_id,
        received.trace_header,
        received.source_arn,
    )
    return {name: value for name, value in zip(SYSTEM_ATTRIBUTES, values, strict=True) if value is not None and name in names}


def _is_chosen(name: str, names: Collection[str]) -> bool:
    """By name, by what it begins with (`prefix.*`, where a period need not follow), or all of them."""
    return any(each == name or each in ("All", "*") or (each.endswith(".*") and name.startswith(each[:-2])) for each in names)


def _shown(attribute: Attribute) -> dict[str, Any]:
    return {
        "StringValue": attribute.string_value,
        "BinaryValue": attribute.binary_value,
        "DataType": attribute.data_type,
    }
