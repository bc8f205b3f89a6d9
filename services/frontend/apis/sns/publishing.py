"""Publish and PublishBatch: a message is answered for once it is durable."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any

from services.frontend.apis.sns import message_rules, platforms
from services.frontend.apis.sns.context import Reply, SnsContext, found_topic
from services.frontend.apis.sns.errors import BatchException, invalid
from services.frontend.apis.sns.naming import topic_of
from services.frontend.apis.sns.sms import is_phone_number
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.limits import TRACE_BYTES_MAX
from shared.domain.topics import MESSAGE_BYTES_MAX, Topic, deduplication_id_of
from shared.registry import sns
from shared.sns.records import Published

ENTRIES_MAX = 10
ID_CHARACTERS_MAX = 80
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]+")


async def publish(ctx: SnsContext, call: Call, params: Params) -> Reply:
    arn = params.get("TopicArn")
    if arn is None:
        arn = params.get("TargetArn")
    phone = params.get("PhoneNumber")
    if arn is None and phone is None:
        raise invalid("TopicArn or TargetArn", "no value for required parameter")
    if arn is None:
        if not is_phone_number(str(phone)):
            raise invalid("PhoneNumber", f"{phone} is not valid to publish to")
        return await _publish_to_one(ctx, call, params, str(phone))
    if ":endpoint/" in arn:
        await platforms.require_enabled(ctx, call, arn)
        return await _publish_to_one(ctx, call, params, arn)
    home, name = topic_of(call, arn, "TopicArn" if "TopicArn" in params else "TargetArn", "SNS:Publish")
    message_rules.check_text(params)
    topic = found_topic(await ctx.topics.find(home, name))
    message = _checked(call, topic, params)
    [(published, failure)] = await ctx.publisher.publish(topic, [message])
    if failure is not None:
        raise failure
    return {"MessageId": published.message_id, "SequenceNumber": published.sequence_number}


async def _publish_to_one(ctx: SnsContext, call: Call, params: Params, target: str) -> Reply:
    """To a phone or a mobile endpoint. There is nobody here who brings it there; what fans out says so."""
    message_rules.check_text(params)
    attributes = message_rules.read_attributes(params)
    message_rules.check_size(message_rules.size_of(params, attributes))
    message = Published(target, str(uuid.uuid4()), params["Message"], sns.now_ms(), 0, attributes=attributes)
    await ctx.publisher.publish_to_nobody(message)
    return {"MessageId": message.message_id}


async def publish_batch(ctx: SnsContext, call: Call, params: Params) -> Reply:
    home, name = topic_of(call, params["TopicArn"], action="SNS:Publish")
    topic = found_topic(await ctx.topics.find(home, name))
    entries = params["PublishBatchRequestEntries"]
    _check_entries(entries)
    for entry in entries:
        message_rules.check_text(entry)
    messages = [_checked(call, topic, entry) for entry in entries]
    if sum(message_rules.size_of(entry, message.attributes) for entry, message in zip(entries, messages, strict=True)) > (
        MESSAGE_BYTES_MAX
    ):
        raise BatchException(
            "BatchRequestTooLongException", "The length of all the batch messages put together is more than the limit."
        )
    successful: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry, (message, failure) in zip(entries, await ctx.publisher.publish(topic, messages), strict=True):
        if failure is None:
            found = {"MessageId": message.message_id, "SequenceNumber": message.sequence_number}
            successful.append({"Id": entry["Id"], **found})
        else:
            failed.append({"Id": entry["Id"], "Code": "InternalError", "Message": failure.message, "SenderFault": False})
    return {"Successful": successful, "Failed": failed}


def _check_entries(entries: Sequence[Any]) -> None:
    if not entries:
        raise BatchException("EmptyBatchRequestException", "The batch request doesn't contain any entries.")
    if len(entries) > ENTRIES_MAX:
        raise BatchException(
            "TooManyEntriesInBatchRequestException", "The batch request contains more entries than permissible."
        )
    ids = [entry["Id"] for entry in entries]
    for one in ids:
        if len(one) > ID_CHARACTERS_MAX:
            raise BatchException(
                "InvalidBatchEntryIdException", f"The Id of a batch entry in the batch request is too long: {one}"
            )
        if _ENTRY_ID.fullmatch(one) is None:
            raise BatchException(
                "InvalidBatchEntryIdException",
                f"The Id of a batch entry in the batch request contains an impermissible character: {one}",
            )
    if len(set(ids)) != len(ids):
        raise BatchException("BatchEntryIdsNotDistinctException", "Two or more batch entries in the request have the same Id.")


def _checked(call: Call, topic: Topic, entry: message_rules.Entry) -> Published:
    """Raises InvalidParameterException and what else `message_rules` do."""
    attributes = message_rules.read_attributes(entry)
    message_rules.check_size(message_rules.size_of(entry, attributes))
    message_rules.check_order(topic, entry)
    return Published(
        topic_arn=topic.arn,
        message_id=str(uuid.uuid4()),
        message=entry["Message"],
        at_ms=sns.now_ms(),
        revision=topic.revision,
        subject=entry.get("Subject"),
        by_protocol=entry.get("MessageStructure") == "json",
        attributes=attributes,
        group_id=entry.get("MessageGroupId") or None,
        deduplication_id=deduplication_id_of(topic, entry.get("MessageDeduplicationId"), entry["Message"]),
        endpoint=call.endpoint or "",
        trace=_trace(call),
    )


def _trace(call: Call) -> str | None:
    trace = call.headers.get(b"x-amzn-trace-id")
    return None if trace is None or len(trace) > TRACE_BYTES_MAX else trace.decode("latin-1")
