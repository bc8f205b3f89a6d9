"""Moving messages out of a dead-letter queue: to where they came from, or elsewhere.

A task is remembered beside its queue and run by one process of those that run `MoveTasks`; when that one is gone, another goes
on. A message is sent first and deleted then, under a delivery id: it is moved once also when that happens in between.
"""

from __future__ import annotations

import asyncio
import time
import uuid

import msgspec

from shared.queues.errors import MoveTaskMissingError, MoveTaskRunningError, QueueMissingError
from shared.queues.queues import Queues, copied
from shared.queues.records import RECEIVED_MAX, MoveTask, QueueId, Received
from shared.queues.scripts import Letter
from shared.telemetry.supervision import keep_running

MOVING = "queues:moving"
REMEMBERED_MAX = 10
LEASE_MS = 15_000
LOOK_S = 3.0
BATCH_VISIBILITY_S = 60
AT_ONCE_MAX = 20
NO_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"
NO_SOURCE = "CouldNotDetermineMessageSource"


class _End(Exception):
    """A task is over. status, failure: as MoveTask has them."""

    def __init__(self, status: str, failure: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.failure = failure


class MoveTasks:
    """Starts, tells and cancels tasks, in any process; those in which `run` runs do the work. All calls raise
    QueueUnavailableError beside what they say."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._mine: set[str] = set()
        self._look = asyncio.Event()

    async def start(self, source: QueueId, destination: QueueId | None, per_second_max: int | None = None) -> MoveTask:
        """Raises MoveTaskRunningError, QueueMissingError."""
        counts = await self._queues.count(source)
        task = MoveTask(
            task_id=str(uuid.uuid4()),
            source=source,
            destination=destination,
            per_second_max=per_second_max,
            status="RUNNING",
            moved=0,
            to_move=counts.visible + counts.delayed,
            started_at_ms=time.time_ns() // 1_000_000,
        )
        # First where it is looked for: what is found there and has no task is forgotten.
        await self._queues.command("ZADD", MOVING, "NX", task.started_at_ms + LEASE_MS, source.arn)
        key = self._key(source)
        described = msgspec.json.encode(task)
        if not await self._queues.script("move_start", [key], [task.task_id, described, REMEMBERED_MAX]):
            raise MoveTaskRunningError(source.arn)
        await self._queues.command("ZADD", MOVING, "XX", 0, source.arn)
        self._look.set()
        return task

    async def tasks(self, source: QueueId) -> list[MoveTask]:
        """The latest ten, the latest first."""
        words = await self._queues.command("HGETALL", self._key(source))
        known: dict[bytes, bytes] = words if isinstance(words, dict) else dict(zip(words[::2], words[1::2], strict=True))
        found = []
        for task_id in known.get(b"tasks", b"").split():
            described = msgspec.json.decode(known[task_id], type=MoveTask)
            failure = known.get(task_id + b" failure")
            found.append(
                msgspec.structs.replace(
                    described,
                    status=known[task_id + b" status"].decode(),
                    moved=int(known.get(task_id + b" moved", 0)),
                    failure=None if failure is None else failure.decode(),
                )
            )
        return found

    async def cancel(self, source: QueueId, task_id: str) -> int:
        """How many messages were moved until now. Raises MoveTaskMissingError when it does not run."""
        moved = await self._queues.script("move_end", [self._key(source)], [task_id, "CANCELLING", ""])
        if moved < 0:
            raise MoveTaskMissingError(task_id)
        self._look.set()
        return int(moved)

    async def run(self, stop: asyncio.Event) -> None:
        """Does the work of tasks until `stop` is set; what is under way then goes on elsewhere, after a while."""
        moving: set[asyncio.Task[None]] = set()
        try:
            while not stop.is_set():
                self._look.clear()
                for arn in await self._claimable(AT_ONCE_MAX - len(moving)):
                    task = asyncio.create_task(self._move_claimed(arn), name="move-task")
                    moving.add(task)
                    task.add_done_callback(moving.discard)
                await self._pause(stop)
        finally:
            for task in moving:
                task.cancel()
            await asyncio.gather(*moving, return_exceptions=True)

    async def _pause(self, stop: asyncio.Event) -> None:
        reasons = [asyncio.create_task(stop.wait()), asyncio.create_task(self._look.wait())]
        try:
            await asyncio.wait(reasons, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for reason in reasons:
                reason.cancel()

    async def _claimable(self, count: int) -> list[str]:
        if count <= 0:
            return []
        now_ms = time.time_ns() // 1_000_000
        found = await self._queues.command("ZRANGE", MOVING, "-inf", now_ms, "BYSCORE", "LIMIT", 0, count)
        return [
            arn for arn in (each.decode() for each in found) if arn not in self._mine and await self._claim(arn, ours=False)
        ]

    async def _claim(self, arn: str, *, ours: bool) -> bool:
        return bool(await self._queues.script("move_claim", [MOVING], [arn, LEASE_MS, int(ours)]))

    async def _move_claimed(self, arn: str) -> None:
        self._mine.add(arn)
        try:
            await keep_running("move-task", lambda: self._move(QueueId.of_arn(arn)))
        finally:
            self._mine.discard(arn)

    async def _move(self, source: QueueId) -> None:
        task = next((task for task in await self.tasks(source) if task.status in ("RUNNING", "CANCELLING")), None)
        if task is not None:
            try:
                while await self._claim(source.arn, ours=True):
                    began_s = time.monotonic()
                    count = await self._move_some(task)
                    if task.per_second_max is not None:
                        await asyncio.sleep(max(0.0, count / task.per_second_max - (time.monotonic() - began_s)))
                return
            except _End as end:
                await self._queues.script("move_end", [self._key(source)], [task.task_id, end.status, end.failure])
        await self._queues.command("ZREM", MOVING, source.arn)

    async def _move_some(self, task: MoveTask) -> int:
        """How many. Raises _End when there are no more, when the task was cancelled and when they have nowhere to go."""
        key = self._key(task.source)
        if await self._queues.command("HGET", key, f"{task.task_id} status") != b"RUNNING":
            raise _End("CANCELLED")
        try:
            messages = await self._queues.take(
                task.source, min(RECEIVED_MAX, task.per_second_max or RECEIVED_MAX), BATCH_VISIBILITY_S
            )
        except QueueMissingError:
            raise _End("FAILED", NO_QUEUE) from None
        if not messages:
            raise _End("COMPLETED")
        left = {message.receipt_handle for message in messages}
        try:
            for destination, some in _by_destination(task, messages).items():
                await self._send(task, destination, some)
                await self._queues.delete(task.source, [message.receipt_handle for message in some])
                await self._queues.command("HINCRBY", key, f"{task.task_id} moved", len(some))
                left.difference_update(message.receipt_handle for message in some)
        except QueueMissingError:
            raise _End("FAILED", NO_QUEUE) from None
        finally:
            if left:
                await self._queues.change_visibility(task.source, [(handle, 0) for handle in left])
        return len(messages)

    async def _send(self, task: MoveTask, destination: QueueId, messages: list[Received]) -> None:
        """As new messages, with an id and a time of their own. They are no duplicates of what they once were."""
        letters = [
            Letter(str(uuid.uuid4()), sent_at_ms=time.time_ns() // 1_000_000 if destination.is_fifo else None) for _ in messages
        ]
        moved = [copied(message, delivery_id=f"moved {task.task_id} {message.message_id}") for message in messages]
        await self._queues.send_letters(destination, moved, letters)

    def _key(self, source: QueueId) -> str:
        return f"{{{self._queues.stream(source)}}}:moves"


def _by_destination(task: MoveTask, messages: list[Received]) -> dict[QueueId, list[Received]]:
    """Raises _End when it is not known where one came from."""
    found: dict[QueueId, list[Received]] = {}
    for message in messages:
        destination = task.destination
        if destination is None:
            if message.source_arn is None:
                raise _End("FAILED", NO_SOURCE)
            destination = QueueId.of_arn(message.source_arn)
        found.setdefault(destination, []).append(message)
    return found
