"""AddPermission and RemovePermission: changes of a queue's policy."""

from __future__ import annotations

from services.frontend.apis.sqs import policy
from services.frontend.apis.sqs.context import SqsContext
from services.frontend.apis.sqs.urls import queue_named
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.registry import sqs as registry


async def add_permission(context: SqsContext, call: Call, params: Params) -> None:
    name = queue_named(call, params)
    async with context.registry.write() as connection:
        queue = await context.locked(connection, call.home, name)
        changed = policy.with_permission(queue.attributes.get("Policy"), call.home, name, params)
        await registry.change(connection, queue, {**queue.attributes, "Policy": changed}, queue.dead_letter_arn)


async def remove_permission(context: SqsContext, call: Call, params: Params) -> None:
    name = queue_named(call, params)
    async with context.registry.write() as connection:
        queue = await context.locked(connection, call.home, name)
        left = policy.without_permission(queue.attributes.get("Policy"), params["Label"])
        attributes = {key: value for key, value in queue.attributes.items() if key != "Policy"}
        await registry.change(connection, queue, {**attributes, "Policy": left} if left else attributes, queue.dead_letter_arn)
