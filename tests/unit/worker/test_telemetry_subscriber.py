"""Delivering telemetry while a sandbox is frozen and thawed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from services.worker.sandbox.runtime_api.telemetry import subscriber as module
from services.worker.sandbox.runtime_api.telemetry.receiver import Receiver
from services.worker.sandbox.runtime_api.telemetry.subscriber import Subscriber
from services.worker.sandbox.runtime_api.telemetry.subscription import Api, Subscription
from services.worker.sandbox.work_budget import Saved, WorkBudget

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
    async with asyncio.timeout(30):
        await receiver.froze
        assert await dropped == module.SLOW
    subscriber.close()
