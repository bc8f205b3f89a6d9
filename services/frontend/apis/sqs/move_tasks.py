"""StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask: dead letters on their way back."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from services.frontend.apis.sqs.context import SqsContext
from services.frontend.apis.sqs.errors import QueueDoesNotExist, ResourceMissing
from services.frontend.apis.sqs.urls import QueueArn, arn_of, parse_arn
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.arns import Home
from shared.domain.errors import InvalidParameterValueException, ResourceNotFoundException
from shared.queues.errors import MoveTaskMissingError, MoveTaskRunningError
from shared.queues.records import MoveTask, QueueId
from shared.registry import sqs as registry

PER_SECOND_MAX = 500
TASKS_MAX = 10
HANDLE_CHARACTERS_MAX = 2_048


class _Handle(msgspec.Struct, frozen=True, rename="camel"):
    task_id: str
    source_arn: str


async def start_message_move_task(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    per_second_max = params.get("MaxNumberOfMessagesPerSecond")
    if per_second_max is not None and not 1 <= per_second_max <= PER_SECOND_MAX:
        raise InvalidParameterValueException(
            "Value for parameter MaxNumberOfMessagesPerSecond is invalid. "
            f"Reason: You must enter a number that's between 1 and {PER_SECOND_MAX}."
        )
    source = await _found(context, call.home, params["SourceArn"], "SourceArn")
    async with context.registry.read() as connection:
        if not await registry.sources(connection, arn_of(source.home, source.name), "", 1):
            raise InvalidParameterValueException("Source queue must be configured as a Dead Letter Queue.")
    destination_arn = params.get("DestinationArn")
    destination = await _found(context, call.home, destination_arn, "DestinationArn") if destination_arn else None
    if destination == source:
        raise InvalidParameterValueException("Source and destination queue must be different.")
    if destination is not None and destination.is_fifo != source.is_fifo:
        # A message of a standard queue has neither the group nor the deduplication id that a FIFO queue goes by.
        raise InvalidParameterValueException("Source and destination queue must be of the same type.")
    try:
        with context.using(source.home, source.name) as queue:
            target = None if destination is None else QueueId(destination.home, destination.name)
            task = await context.moves.start(queue, target, per_second_max)
    except MoveTaskRunningError as error:
        raise InvalidParameterValueException(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
        ) from error
    return {"TaskHandle": _handle_of(task)}


async def list_message_move_tasks(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    """The newest first."""
    limit = params.get("MaxResults", 1)
    if not 1 <= limit <= TASKS_MAX:
        raise InvalidParameterValueException(
            f"Value for parameter MaxResults is invalid. Reason: You must enter a number that's between 1 and {TASKS_MAX}."
        )
    source = await _found(context, call.home, params["SourceArn"], "SourceArn")
    with context.using(source.home, source.name) as queue:
        tasks = await context.moves.tasks(queue)
    return {"Results": [_shown(task) for task in tasks[:limit]]}


async def cancel_message_move_task(context: SqsContext, call: Call, params: Params) -> dict[str, Any]:
    handle = _read_handle(params["TaskHandle"])
    source = await _found(context, call.home, handle.source_arn, "SourceArn")
    try:
        with context.using(source.home, source.name) as queue:
            moved = await context.moves.cancel(queue, handle.task_id)
    except MoveTaskMissingError as error:
        raise ResourceNotFoundException("Task does not exist.") from error
    return {"ApproximateNumberOfMessagesMoved": moved}


async def _found(context: SqsContext, home: Home, arn: str, parameter: str) -> QueueArn:
    """Raises ResourceMissing, InvalidParameterValueException."""
    named = parse_arn(arn)
    if named is None:
        form = "arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        raise InvalidParameterValueException(f"You must use this format to specify the {parameter}: {form}")
    if named.home != home:
        raise ResourceMissing(parameter)
    try:
        await context.found(home, named.name)
    except QueueDoesNotExist as error:
        raise ResourceMissing(parameter) from error
    return named


def _handle_of(task: MoveTask) -> str:
    return base64.b64encode(msgspec.json.encode(_Handle(task.task_id, task.source.arn))).decode()


def _read_handle(text: str) -> _Handle:
    """Raises InvalidParameterValueException."""
    try:
        if len(text) > HANDLE_CHARACTERS_MAX:
            raise ValueError("too long")
        return msgspec.json.decode(base64.b64decode(text, validate=True), type=_Handle)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise InvalidParameterValueException("Value for parameter TaskHandle is invalid.") from error


def _shown(task: MoveTask) -> dict[str, Any]:
    """What is None is left out: a task that has ended has no handle any more."""
    return {
        "TaskHandle": _handle_of(task) if task.status == "RUNNING" else None,
        "Status": task.status,
        "SourceArn": task.source.arn,
        "DestinationArn": None if task.destination is None else task.destination.arn,
        "MaxNumberOfMessagesPerSecond": task.per_second_max,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "FailureReason": task.failure,
        "StartedTimestamp": task.started_at_ms,
    }
