"""Delivering telemetry: when a batch is cut, what is lost, and what a sandbox that is frozen does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import msgspec
import pytest

from services.worker.sandbox.runtime_api.telemetry import subscriber as module
from services.worker.sandbox.runtime_api.telemetry.receiver import Receiver
from services.worker.sandbox.runtime_api.telemetry.subscriber import Subscriber
from services.worker.sandbox.runtime_api.telemetry.subscription import Api, Subscription
from services.worker.sandbox.work_budget import Saved, WorkBudget
from tests.support import PATIENCE_S

SUBSCRIPTION = Subscription(Api.TELEMETRY, "2022-12-13", ("function",), 9, "/", "POST", 1_000, 262_144, 1.0)


class Slow:
    """A receiver that never answers, and whose sandbox is frozen in the moment in which the time for that is over."""

    def __init__(self) -> None:
        self.subscriber: Subscriber | None = None
        self.froze: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, batch: Sequence[bytes]) -> None:
        asyncio.get_running_loop().call_soon(self._freeze)
        await asyncio.get_running_loop().create_future()

    def _freeze(self) -> None:
        assert self.subscriber is not None
        try:
            self.subscriber.pause()
        except BaseException as error:
            self.froze.set_exception(error)
        else:
            self.froze.set_result(None)

    def close(self) -> None:
        """Nothing is held."""


async def test_a_sandbox_is_frozen_in_the_moment_in_which_a_delivery_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELIVERY_TIMEOUT_S", 0.0)
    receiver = Slow()
    dropped: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_dropped(_size_bytes: int, _records: int, why: str) -> bytes:
        dropped.set_result(why)
        return b"{}"

    budget = WorkBudget(Saved(1e6, 1e6))
    subscriber = receiver.subscriber = Subscriber("slow", SUBSCRIPTION, cast("Receiver", receiver), budget, on_dropped)
    subscriber.add(b"{}")
    subscriber.flush()
    async with asyncio.timeout(PATIENCE_S):
        await receiver.froze
        assert await dropped == module.SLOW
    subscriber.close()


NEVER_S = 3_600.0


class Recording:
    """A receiver that takes everything."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self._more = asyncio.Event()

    async def send(self, batch: Sequence[bytes]) -> None:
        self.batches.append(list(batch))
        self._more.set()

    def close(self) -> None:
        """Nothing is held."""

    async def has(self, records: int) -> list[bytes]:
        """All that came, once there are so many."""
        async with asyncio.timeout(PATIENCE_S):
            while sum(map(len, self.batches)) < records:
                self._more.clear()
                await self._more.wait()
        return [record for batch in self.batches for record in batch]


def recorded(*, items: int = 10_000, size_bytes: int = 1_048_576, timeout_s: float = NEVER_S) -> tuple[Subscriber, Recording]:
    receiver = Recording()
    subscription = msgspec.structs.replace(SUBSCRIPTION, items_max=items, bytes_max=size_bytes, timeout_s=timeout_s)
    budget = WorkBudget(Saved(1e6, 1e6))

    def on_dropped(size_bytes: int, records: int, why: str) -> bytes:
        return f"{records} records of {size_bytes} bytes: {why}".encode()

    return Subscriber("recorded", subscription, cast("Receiver", receiver), budget, on_dropped), receiver


async def settle() -> None:
    """Whatever can be delivered now is."""
    for _ in range(10):
        await asyncio.sleep(0)


def numbered(count: int, digits: int = 6) -> list[bytes]:
    return [b"%0*d" % (digits, number) for number in range(count)]


async def test_a_batch_is_cut_when_there_are_as_many_records_as_were_asked_for() -> None:
    subscriber, receiver = recorded(items=1_000)
    records = numbered(1_700)
    for each in records[:999]:
        subscriber.add(each)
    await settle()
    assert receiver.batches == [], "one is missing"
    for each in records[999:]:
        subscriber.add(each)
    await receiver.has(1_000)
    subscriber.flush()
    assert await receiver.has(1_700) == records
    assert [len(batch) for batch in receiver.batches] == [1_000, 700]
    subscriber.close()


async def test_a_batch_is_cut_when_there_are_as_many_bytes_as_were_asked_for() -> None:
    subscriber, receiver = recorded(size_bytes=262_144)
    records = numbered(263, digits=1_000)
    for each in records[:262]:
        subscriber.add(each)
    await settle()
    assert receiver.batches == [], "144 bytes are free"
    subscriber.add(records[262])
    await receiver.has(262)
    subscriber.flush()
    assert await receiver.has(263) == records
    assert [len(batch) for batch in receiver.batches] == [262, 1]
    subscriber.close()


async def test_a_record_that_is_larger_than_a_batch_is_one() -> None:
    subscriber, receiver = recorded(size_bytes=262_144)
    records = [b"before", b"x" * 300_000, b"after"]
    for each in records:
        subscriber.add(each)
    subscriber.flush()
    assert await receiver.has(3) == records
    assert receiver.batches == [[b"before"], [records[1]], [b"after"]]
    subscriber.close()


async def test_a_batch_waits_for_as_long_as_was_asked_for_and_no_longer_when_more_comes() -> None:
    subscriber, receiver = recorded(timeout_s=0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()
    told = 0
    async with asyncio.timeout(PATIENCE_S):
        while not receiver.batches:
            subscriber.add(b"%d" % told)
            told += 1
            await asyncio.sleep(0.001)
    assert loop.time() - began >= 0.049
    assert told < subscriber.subscription.items_max, "it was cut by time"
    assert receiver.batches[0][0] == b"0"
    assert (await receiver.has(told))[-1] == b"%d" % (told - 1), "the rest has a timer of its own"
    subscriber.close()


async def test_what_there_was_no_room_for_is_told_before_what_came_after_it() -> None:
    subscriber, receiver = recorded(items=1_000)
    records = numbered(2_500)
    for each in records:
        subscriber.add(each)
    got = await receiver.has(1_000)
    assert got[:2] == [f"500 records of 3000 bytes: {module.SLOW}".encode(), records[500]]
    assert len(receiver.batches[0]) == 1_000
    subscriber.close()
