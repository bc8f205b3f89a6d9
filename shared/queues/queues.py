"""Queues on Redis: the one way to send to them and to receive from them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

from shared.domain.arns import Home
from shared.queues import scripts
from shared.queues.errors import (
    DeduplicationIdMissingError,
    PurgeInProgressError,
    QueueMissingError,
    QueueUnavailableError,
    TooManyInFlightError,
)
from shared.queues.given_back import Found, GivenBack
from shared.queues.keys import CHANNEL, QUEUES, packed, stream_of
from shared.queues.receipts import Receipt
from shared.queues.records import (
    RECEIVED_MAX,
    Counts,
    Message,
    QueueId,
    QueueSettings,
    Received,
    Sent,
    Settlement,
    TooLong,
)
from shared.queues.room import SHARE_MAX, Room
from shared.queues.scripts import Letter
from shared.queues.waiting import Waiting
from shared.redis.connection import RedisConnection, RedisError
from shared.redis.scripts import Argument, Script, pack
from shared.settings import Settings

Load = Callable[[QueueId], Awaitable[QueueSettings | None]]
"""The settings of a queue from where they are kept for good; None when there is no such queue."""

UNDER_WAY_BYTES_MAX = 256 * 1024**2
RECONNECT_S = 1.0
"""How long a call waits for a connection that is just being made anew."""
DELETED_REMEMBERED_S = 600
RETENTION_MS_MAX = 14 * 86_400 * 1_000
LOADS_MAX = 3
_SETTLEMENTS: tuple[Settlement, ...] = ("invalid", "done", "stale", "expired", "missing", "visible", "too-far")


class Queues:
    """One connection to the Redis of queues, for all of a process. Calls may be made at the same time; each is atomic.

    What Redis does not know of a queue (it was wiped, or the queue was never used) is loaded and installed. All calls raise
    QueueUnavailableError, and those of a queue QueueMissingError, beside what they say. memory_share_max: how much of
    Redis's memory may be in use when a message is sent. clock: Unix milliseconds, for tests; Redis's own by default.
    """

    def __init__(
        self,
        url: str,
        own: Home,
        load: Load,
        *,
        name: str,
        connect_timeout_s: float,
        timeout_s: float,
        memory_share_max: float = 1.0,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._own = own
        self._load = load
        self._clock = clock
        self._waiting = Waiting()
        self._under_way_bytes = 0
        self._redis = RedisConnection(
            url,
            name=name,
            connect_timeout_s=connect_timeout_s,
            timeout_s=timeout_s,
            channel=CHANNEL,
            on_published=self._waiting.published,
            on_connected=self._waiting.wake_all,
            scripts=scripts.SCRIPTS.all(),
        )
        self._room = Room(self._redis, memory_share_max)
        self._given_back = GivenBack(self.release)

    @classmethod
    def of(cls, settings: Settings, load: Load, *, name: str) -> Self:
        """On the Redis that the settings name for queues; nothing is dialled before `open`. name: of the connection."""
        return cls(
            settings.queues_url,
            settings.home,
            load,
            name=name,
            connect_timeout_s=settings.dispatch.connect_timeout_s,
            timeout_s=settings.queues.timeout_s,
            memory_share_max=SHARE_MAX if settings.queues_url == settings.redis_url else 1.0,
        )

    async def open(self) -> None:
        """Returns at once when Redis cannot be reached: it is dialled until it can be."""
        self._redis.start()
        await self._redis.wait_connected(1.0)

    async def close(self) -> None:
        await self._given_back.settle()
        await self._redis.close()
        self._waiting.wake_all()

    def problem(self) -> str | None:
        """For the service's health: why queues cannot be used; None when they can."""
        return self._redis.problem

    async def install(self, queue: QueueId, settings: QueueSettings) -> bool:
        """Write through what was changed. Returns False when the queue was deleted at a later revision."""
        arguments = scripts.settings_arguments(settings, fifo=queue.is_fifo)
        written = await self._run("install", self.stream(queue), arguments)
        await self.command("SADD", QUEUES, self.stream(queue))
        return bool(written >= 0)

    async def remove(self, queue: QueueId, revision: int) -> None:
        """Delete it with all its messages. revision: higher than that of any settings that it had."""
        await self._run("remove", self.stream(queue), [revision, DELETED_REMEMBERED_S])

    async def send(self, queue: QueueId, messages: Sequence[Message]) -> list[Sent | TooLong]:
        """All of them, in their order, but those that are too long. Also raises DeduplicationIdMissingError."""
        return await self._send(queue, messages, [None] * len(messages))

    async def keep(self, queue: QueueId, messages: Sequence[Message]) -> list[Sent | TooLong]:
        """As `send`, also to a queue that does not exist: the messages are in it once it is made, two weeks long."""
        results = await self._send(queue, messages, [None] * len(messages), keep=True)
        await self.command("SADD", QUEUES, self.stream(queue))
        return results

    async def receive(
        self,
        queue: QueueId,
        *,
        count_max: int = 1,
        visibility_s: int | None = None,
        wait_s: float | None = None,
        attempt_id: str | None = None,
    ) -> list[Received]:
        """One message or more, as soon as there are any; none when there were none for `wait_s`.

        visibility_s, wait_s: None for the queue's own. attempt_id: of a FIFO queue, ReceiveRequestAttemptId. Dead letters
        are moved. Who waits and is cancelled has received nothing. Also raises TooManyInFlightError, of a standard queue and
        where nobody waits.
        """
        loop, stream = asyncio.get_running_loop(), self.stream(queue)
        arguments: list[Argument] = [
            min(count_max, RECEIVED_MAX),
            "" if visibility_s is None else visibility_s * 1_000,
            "" if wait_s is None else int(wait_s * 1_000),
            1,
        ]
        if queue.is_fifo:
            arguments.append(attempt_id or "")
        until, waited, woken = loop.time() + wait_s if wait_s is not None else None, False, False
        while True:
            place = self._waiting.take_place(stream)
            asks = False
            try:
                look = self._look(queue, arguments)
                found = await (look if wait_s == 0 else self._given_back.wait(queue, look))
                if found.count:
                    if woken or found.count == count_max:
                        self._waiting.wake(stream, 1)
                    if found.messages:
                        return found.messages
                    asks = True
                    continue
                until = until if until is not None else loop.time() + found.wait_ms / 1_000
                remaining_s = until - loop.time()
                if remaining_s <= 0:
                    if found.over and not queue.is_fifo and not waited:
                        raise TooManyInFlightError(f"too many messages of {queue.name} are in flight")
                    return []
                if found.due_ms >= 0:
                    self._waiting.due(stream, found.due_ms / 1_000)
                await self._waiting.wait(place, remaining_s)
                asks, waited, woken = True, True, place.done() and place.result()
                arguments[2] = max(0, int((until - loop.time()) * 1_000))
            finally:
                self._waiting.leave(stream, place, asks=asks)

    async def delete(self, queue: QueueId, handles: Sequence[str]) -> list[Settlement]:
        """Of each receipt handle: done, invalid, stale or (FIFO) expired."""
        return await self._settle("delete", queue, [(handle, ()) for handle in handles])

    async def change_visibility(self, queue: QueueId, changes: Sequence[tuple[str, int]]) -> list[Settlement]:
        """changes: receipt handles and in how many seconds the message is to be visible. Of each: see Settlement."""
        return await self._settle("change", queue, [(handle, (seconds * 1_000,)) for handle, seconds in changes])

    async def release(self, queue: QueueId, handles: Sequence[str]) -> None:
        """Take back receives that nobody has got: the messages are visible at once, and the receives do not count."""
        await self._settle("release", queue, [(handle, ()) for handle in handles])

    async def count(self, queue: QueueId) -> Counts:
        words = await self._ask("count", queue, [RETENTION_MS_MAX])
        if not words[3]:
            await self._install_loaded(queue)
            words = await self._ask("count", queue, [RETENTION_MS_MAX])
        return Counts(*words)

    async def purge(self, queue: QueueId) -> None:
        """Also raises PurgeInProgressError."""
        await self._ask("purge", queue, [], fifo_too=False)

    async def take(self, queue: QueueId, count_max: int, visibility_s: int) -> list[Received]:
        """What is visible now, dead letters as well: for who moves it."""
        arguments: list[Argument] = [count_max, visibility_s * 1_000, 0, 0, *([""] if queue.is_fifo else [])]
        words = (await self._ask("receive", queue, arguments))[4:]
        return [message for message, _ in scripts.received(self.stream(queue), words, fifo=queue.is_fifo)]

    async def send_letters(self, queue: QueueId, messages: Sequence[Message], letters: Sequence[Letter]) -> None:
        """Messages that are moved here."""
        await self._send(queue, messages, letters)

    async def keep_up(self, stream: str) -> bool:
        """What is too old leaves the stream, what is due comes in. -> whether it is in use."""
        name = "count_fifo" if stream.endswith(".fifo") else "count"
        kind, *counts = await self._run(name, stream, [RETENTION_MS_MAX])
        return kind == b"c" and any(counts)

    def stream(self, queue: QueueId) -> str:
        return stream_of(queue, self._own)

    async def script(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """A script that is none of a queue's."""
        one = scripts.SCRIPTS.script(name)
        return await self._under_way(one.command(tuple(keys), *arguments), one)

    async def command(self, *words: Argument) -> Any:
        """A plain command by its words."""
        return await self._under_way(pack(*words), None)

    async def command_with_room(self, *words: Argument) -> Any:
        """A plain command that takes memory, as long as messages would get it."""
        self._room.check()
        return await self.command(*words)

    async def _send(
        self, queue: QueueId, messages: Sequence[Message], letters: Sequence[Letter | None], *, keep: bool = False
    ) -> list[Sent | TooLong]:
        self._room.check()
        about = scripts.told(messages, letters, fifo=queue.is_fifo)
        answers = await self._ask("send", queue, [int(keep), *scripts.send_arguments(about, messages)])
        return scripts.sent(answers, about)

    async def _look(self, queue: QueueId, arguments: Sequence[Argument]) -> Found:
        due_ms, wait_ms, over, letters_to, *words = await self._ask("receive", queue, arguments)
        messages = await self._without_dead(queue, letters_to.decode(), words) if words else []
        return Found(due_ms, wait_ms, bool(over), len(words) // 5, messages)

    async def _without_dead(self, queue: QueueId, letters_to: str, words: list[Any]) -> list[Received]:
        """Moves the dead letters of what was received. -> the rest; with them what has nowhere to go."""
        found = scripts.received(self.stream(queue), words, fifo=queue.is_fifo)
        dead = [message for message, is_dead in found if is_dead]
        if not dead:
            return [message for message, _ in found]
        try:
            await self._bury(queue, QueueId.of_arn(letters_to), dead)
        except QueueMissingError:
            return [message for message, _ in found]
        return [message for message, is_dead in found if not is_dead]

    async def _bury(self, queue: QueueId, target: QueueId, dead: list[Received]) -> None:
        """Sent first, deleted then: what happens between makes no difference, for the delivery id is that of the entry."""
        moved, letters = [], []
        for message in dead:
            moved.append(copied(message, delivery_id=f"dead {queue.arn} {message.message_id}"))
            letters.append(
                Letter(
                    message.message_id,
                    source_arn=queue.arn,
                    sent_at_ms=message.sent_at_ms,
                    receives=message.receive_count - 1,
                    first_received_at_ms=message.first_received_at_ms,
                )
            )
        await self._send(target, moved, letters)
        await self.delete(queue, [message.receipt_handle for message in dead])

    async def _settle(self, name: str, queue: QueueId, asked: Sequence[tuple[str, tuple[int, ...]]]) -> list[Settlement]:
        stream = self.stream(queue)
        results: list[Settlement] = ["invalid"] * len(asked)
        arguments: list[Argument] = []
        positions = []
        for position, (handle, further) in enumerate(asked):
            receipt = Receipt.of(handle)
            if receipt is not None and receipt.stream == stream:
                positions.append(position)
                arguments += (receipt.entry, receipt.count, *further)
        answers = await self._ask(name, queue, arguments)
        for position, answer in zip(positions, answers, strict=True):
            results[position] = _SETTLEMENTS[answer]
        return results

    async def _ask(self, name: str, queue: QueueId, arguments: Sequence[Argument], *, fifo_too: bool = True) -> list[Any]:
        """What a script says of a queue that exists. fifo_too: whether FIFO queues have one of their own."""
        name = f"{name}_fifo" if fifo_too and queue.is_fifo else name
        for _ in range(LOADS_MAX):
            reply: list[Any] = await self._run(name, self.stream(queue), arguments)
            kind = reply[0]
            if kind == b"u":
                await self._install_loaded(queue)
            elif kind == b"d":
                break
            elif kind == b"i":
                raise PurgeInProgressError(queue.name) if name == "purge" else DeduplicationIdMissingError(queue.name)
            else:
                return reply[1:]
        raise QueueMissingError(queue.arn)

    async def _install_loaded(self, queue: QueueId) -> None:
        settings = await self._load(queue)
        if settings is None or not await self.install(queue, settings):
            raise QueueMissingError(queue.arn)

    async def _run(self, name: str, stream: str, arguments: Sequence[Argument]) -> Any:
        now = "" if self._clock is None else self._clock()
        command = scripts.call(name, packed(stream, fifo=stream.endswith(".fifo")), (now, *arguments))
        return await self._under_way(command, scripts.SCRIPTS.script(name))

    async def _under_way(self, command: bytes, script: Script | None) -> Any:
        if self._under_way_bytes + len(command) > UNDER_WAY_BYTES_MAX:
            raise QueueUnavailableError("too much is on its way to Redis")
        self._under_way_bytes += len(command)
        try:
            if not self._redis.connected:
                await self._redis.wait_connected(RECONNECT_S)
            return await self._redis.call(command, script)
        except RedisError as error:
            raise QueueUnavailableError(str(error)) from error
        finally:
            self._under_way_bytes -= len(command)


def copied(message: Received, *, delivery_id: str) -> Message:
    """The same to be sent elsewhere."""
    return Message(
        message.body,
        message.attributes,
        sender_id=message.sender_id,
        trace_header=message.trace_header,
        delay_s=0,
        group_id=message.group_id,
        deduplication_id=message.deduplication_id,
        delivery_id=delivery_id,
    )
