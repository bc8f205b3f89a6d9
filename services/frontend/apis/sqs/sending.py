"""SendMessage and SendMessageBatch."""

from __future__ import annotations

from typing import Any

from services.frontend.apis.sqs import batches
from services.frontend.apis.sqs.context import SqsContext
from services.frontend.apis.sqs.errors import BatchRequestTooLong, MissingRequiredParameterException
from services.frontend.apis.sqs.messages import md5_of_attributes, md5_of_system_attributes, outgoing, size_of
from services.frontend.apis.sqs.urls import FIFO_SUFFIX, queue_named
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ApiError, InvalidParameterValueException
from shared.domain.queue_attributes import MESSAGE_BYTES_MAX
from shared.queues.errors import DeduplicationIdMissingError
from shared.queues.records import Message, Sent, TooLong

_NO_DEDUPLICATION_ID = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)


async def send_message(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    name = queue_named(call, params)
    [message] = _messages(call, name, [params], batch=False)
    if isinstance(message, ApiError):
        raise message
    [sent] = await _send(context, call, name, [message])
    if isinstance(sent, TooLong):
        raise InvalidParameterValueException(_too_long("are invalid", sent))
    return _reply(params, message, sent)


async def send_message_batch(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    """What is wrong with one entry alone leaves the others be."""
    name = queue_named(call, params)
    entries = batches.entries_of(params, "SendMessageBatchRequestEntry")
    messages = _messages(call, name, entries, batch=True)
    good = [message for message in messages if isinstance(message, Message)]
    # Also what is refused alone counts.
    size = sum(
        message.size_bytes if isinstance(message, Message) else size_of(entry)
        for entry, message in zip(entries, messages, strict=True)
    )
    if size > MESSAGE_BYTES_MAX:
        raise BatchRequestTooLong(MESSAGE_BYTES_MAX, size)
    outcomes = iter(await _send(context, call, name, good) if good else ())
    successful, failed = [], []
    for entry, message in zip(entries, messages, strict=True):
        if isinstance(message, ApiError):
            failed.append(batches.failure(entry["Id"], message))
            continue
        sent = next(outcomes)
        if isinstance(sent, TooLong):
            error = InvalidParameterValueException(_too_long("cannot be validated", sent))
            failed.append(batches.failure(entry["Id"], error))
        else:
            successful.append({"Id": entry["Id"], **_reply(entry, message, sent)})
    return batches.result(successful, failed)


def _messages(call: Call, queue: str, entries: list[Params], *, batch: bool) -> list[Message | ApiError]:
    """Raises InvalidParameterValueException for a whole batch of which an entry has no group."""
    fifo = queue.endswith(FIFO_SUFFIX)
    trace = call.headers.get(b"x-amzn-trace-id")
    trace_header = None if trace is None else trace.decode("latin-1")
    found: list[Message | ApiError] = []
    for entry in entries:
        try:
            found.append(outgoing(entry, fifo=fifo, sender_id=call.caller.user_id, trace_header=trace_header))
        except ApiError as error:
            if batch and isinstance(error, MissingRequiredParameterException) and error.name == "MessageGroupId":
                raise InvalidParameterValueException(error.message) from error
            found.append(error)
    return found


async def _send(context: SqsContext, call: Call, name: str, messages: list[Message]) -> list[Sent | TooLong]:
    try:
        with context.using(call.home, name) as queue:
            return await context.queues.send(queue, messages)
    except DeduplicationIdMissingError as error:
        raise InvalidParameterValueException(_NO_DEDUPLICATION_ID) from error


def _reply(entry: Params, message: Message, sent: Sent) -> dict[str, Any]:
    """SendMessageResult, or what an entry of a batch has of it; what is None is left out."""
    return {
        "MessageId": sent.message_id,
        "MD5OfMessageBody": sent.md5_of_body,
        "MD5OfMessageAttributes": md5_of_attributes(message.attributes),
        "MD5OfMessageSystemAttributes": md5_of_system_attributes(entry),
        "SequenceNumber": sent.sequence_number,
    }


def _too_long(what: str, message: TooLong) -> str:
    return f"One or more parameters {what}. Reason: Message must be shorter than {message.bytes_max} bytes."
