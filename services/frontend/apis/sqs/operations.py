"""SQS: its table of operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from services.frontend.apis.sqs import listing, move_tasks, permissions, queues, receiving, sending, settling, tags
from services.frontend.apis.sqs.context import SqsContext
from services.frontend.apis.sqs.errors import (
    InvalidAction,
    InvalidMessageContents,
    MissingRequiredParameterException,
    QueueDoesNotExist,
)
from services.frontend.apis.sqs.urls import is_queue_path
from services.frontend.endpoint.api import Api, Call, Handler
from shared.aws.protocols.protocol import Params
from shared.aws.service_model import Operation, load_service_model
from shared.domain.errors import ApiError, InvalidParameterValueException

BODY_BYTES_MAX = 8 * 1024 * 1024
"""A mebibyte of messages takes more as JSON or as a form: a control character six bytes in one, any byte three in the other."""
Work = Callable[[SqsContext, Call, Params], Awaitable[dict[str, Any] | None]]
OPERATIONS: dict[str, Work] = {
    "AddPermission": permissions.add_permission,
    "CancelMessageMoveTask": move_tasks.cancel_message_move_task,
    "ChangeMessageVisibility": settling.change_message_visibility,
    "ChangeMessageVisibilityBatch": settling.change_message_visibility_batch,
    "CreateQueue": queues.create_queue,
    "DeleteMessage": settling.delete_message,
    "DeleteMessageBatch": settling.delete_message_batch,
    "DeleteQueue": queues.delete_queue,
    "GetQueueAttributes": queues.get_queue_attributes,
    "GetQueueUrl": listing.get_queue_url,
    "ListDeadLetterSourceQueues": listing.list_dead_letter_source_queues,
    "ListMessageMoveTasks": move_tasks.list_message_move_tasks,
    "ListQueueTags": tags.list_queue_tags,
    "ListQueues": listing.list_queues,
    "PurgeQueue": queues.purge_queue,
    "ReceiveMessage": receiving.receive_message,
    "RemovePermission": permissions.remove_permission,
    "SendMessage": sending.send_message,
    "SendMessageBatch": sending.send_message_batch,
    "SetQueueAttributes": queues.set_queue_attributes,
    "StartMessageMoveTask": move_tasks.start_message_move_task,
    "TagQueue": tags.tag_queue,
    "UntagQueue": tags.untag_queue,
}
_OF_NO_QUEUE = frozenset({"CreateQueue", "ListQueues"})
"""What cannot be asked of a queue's own URL, as clients of the query protocol do."""
_CHECKED_BY_THEIR_HANDLERS = frozenset({"Entries", "QueueUrl"})
"""A queue's URL may be the path of the request, and a batch without entries has an error of its own."""


def sqs(context: SqsContext) -> Api:
    operations = {name: _handler(context, name, handler) for name, handler in OPERATIONS.items()}
    return Api(
        load_service_model("sqs"),
        operations,
        BODY_BYTES_MAX,
        too_large,
        check=check,
        nul=nul,
        unknown_action=InvalidAction.TEXT,
        version_optional=True,
    )


def _handler(context: SqsContext, name: str, operation: Work) -> Handler:
    async def handle(call: Call, params: Params) -> dict[str, Any] | None:
        if name in _OF_NO_QUEUE and call.protocol == "query" and is_queue_path(call.path):
            raise InvalidAction(name)
        try:
            return await operation(context, call, params)
        except QueueDoesNotExist as error:
            if call.protocol == "query":
                raise QueueDoesNotExist.of_query() from error
            raise

    return handle


def too_large(operation: str, size_bytes: int) -> ApiError:
    del operation, size_bytes
    return InvalidParameterValueException(f"The request must be smaller than {BODY_BYTES_MAX} bytes.")


def nul(operation: Operation, error: ApiError) -> ApiError:
    """Of messages it is one of the characters that they may not hold."""
    return InvalidMessageContents() if operation.name in ("SendMessage", "SendMessageBatch") else error


def check(operation: Operation, params: Params) -> None:
    """What the model requires, in SQS's words; ranges and names are its operations' own. Raises
    MissingRequiredParameterException."""
    shape = operation.input
    if shape is None:
        return
    for name in shape.required:
        if name not in params and name not in _CHECKED_BY_THEIR_HANDLERS:
            raise MissingRequiredParameterException(name)
