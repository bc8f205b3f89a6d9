"""CreateQueue, DeleteQueue, PurgeQueue, GetQueueAttributes, SetQueueAttributes."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.sqs import attributes as rules
from services.frontend.apis.sqs import redrive
from services.frontend.apis.sqs.context import SqsContext
from services.frontend.apis.sqs.errors import PurgeQueueInProgress, QueueDeletedRecently, QueueNameExists, bad_value
from services.frontend.apis.sqs.tags import check_tags
from services.frontend.apis.sqs.urls import FIFO_SUFFIX, NAME, QueueArn, arn_of, parse_arn, queue_named, url_of
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.errors import InvalidParameterValueException
from shared.queues.errors import PurgeInProgressError
from shared.registry import sqs as registry
from shared.registry.functions import now_ms

_NAME_RULE = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
_FIFO_NAME_RULE = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix "
    "and be 1 to 80 in length."
)


async def create_queue(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    """Of a queue that is there, its URL: with attributes that it has, it is the same queue."""
    name, sent, tags = params["QueueName"], params.get("Attributes", {}), params.get("tags", {})
    fifo = _check_name(name, sent)
    attributes = rules.changed({}, sent, fifo=fifo)
    check_tags(tags, name)
    async with context.registry.write() as connection:
        queue = await registry.find(connection, call.home.region, name)
        if queue is None:
            await _check_not_deleted_recently(context, connection, call, name)
            dead_letter_arn = await _check_redrive(connection, QueueArn(call.home, name), attributes.get("RedrivePolicy"))
            queue = await registry.create(
                connection, call.home.region, name, attributes=attributes, tags=tags, dead_letter_arn=dead_letter_arn
            )
        if queue is None:
            # Made by somebody else since it was looked for.
            queue = await context.locked(connection, call.home, name)
    different = rules.difference(queue.attributes, sent, fifo=fifo)
    if different is not None:
        raise QueueNameExists(different)
    await context.tell(call.home, queue)
    return {"QueueUrl": url_of(call, name)}


async def delete_queue(context: SqsContext, call: Call, params: Params) -> None:
    """With all that is in it. Of a queue that is not there, it is an error."""
    await context.delete(call.home, queue_named(call, params))


async def purge_queue(context: SqsContext, call: Call, params: Params) -> None:
    name = queue_named(call, params)
    try:
        with context.using(call.home, name) as queue:
            await context.queues.purge(queue)
    except PurgeInProgressError as error:
        raise PurgeQueueInProgress(name) from error


async def get_queue_attributes(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    """Those that are asked for and have a value; none where none are asked for."""
    name, asked = queue_named(call, params), params.get("AttributeNames") or []
    rules.check_names(asked)
    queue = await context.found(call.home, name)
    names = rules.KNOWN if "All" in asked else frozenset(asked)
    found = {
        **rules.shown(queue.attributes, fifo=name.endswith(FIFO_SUFFIX)),
        "QueueArn": arn_of(call.home, name),
        "CreatedTimestamp": str(queue.created_ms // 1_000),
        "LastModifiedTimestamp": str(queue.modified_ms // 1_000),
    }
    if not names.isdisjoint(rules.COUNTED):
        counts = await context.counts(call.home, queue)
        found |= zip(rules.COUNTED, map(str, (counts.visible, counts.in_flight, counts.delayed)), strict=True)
    shown = {key: value for key, value in found.items() if key in names}
    return {"Attributes": shown} if shown else {}


async def set_queue_attributes(context: SqsContext, call: Call, params: Params) -> None:
    """What is not sent keeps its value, what is sent empty loses it."""
    name, sent = queue_named(call, params), params["Attributes"]
    fifo = name.endswith(FIFO_SUFFIX)
    async with context.registry.write() as connection:
        queue = await context.locked(connection, call.home, name)
        attributes = rules.changed(queue.attributes, sent, fifo=fifo)
        target = queue.dead_letter_arn
        if "RedrivePolicy" in sent:
            target = await _check_redrive(connection, QueueArn(call.home, name), attributes.get("RedrivePolicy"))
        queue = await registry.change(connection, queue, attributes, target)
    await context.tell(call.home, queue)


def _check_name(name: str, sent: dict[str, str]) -> bool:
    """Whether it is a FIFO queue's. Raises InvalidParameterValueException."""
    fifo = sent.get("FifoQueue", "").lower() == "true"
    if fifo and not (name.endswith(FIFO_SUFFIX) and NAME.fullmatch(name)):
        raise InvalidParameterValueException(_FIFO_NAME_RULE)
    if not fifo and (name.endswith(FIFO_SUFFIX) or NAME.fullmatch(name) is None):
        raise InvalidParameterValueException(_NAME_RULE)
    return fifo


async def _check_not_deleted_recently(context: SqsContext, connection: AsyncConnection, call: Call, name: str) -> None:
    deleted_ms = await registry.deleted_ms(connection, call.home.region, name)
    if deleted_ms is not None and now_ms() - deleted_ms < context.deleted_name_wait_s * 1_000:
        raise QueueDeletedRecently


async def _check_redrive(connection: AsyncConnection, source: QueueArn, text: str | None) -> str | None:
    """The target's ARN. Raises InvalidParameterValueException."""
    policy = redrive.read_policy(text)
    target = parse_arn(policy.target) if policy is not None else None
    if policy is None or target is None:
        return None
    redrive.check_target(text or "", source, target)
    if target == source:
        return policy.target
    found = await registry.find(connection, target.home.region, target.name)
    if found is None:
        raise bad_value(text, "RedrivePolicy", "Dead letter target does not exist.")
    if not redrive.permits(found.attributes.get("RedriveAllowPolicy"), arn_of(source.home, source.name)):
        raise bad_value(
            text, "RedrivePolicy", "The redrive allow policy of the dead-letter queue does not permit it for this queue."
        )
    return policy.target
