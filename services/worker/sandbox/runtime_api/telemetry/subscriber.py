"""One subscription: what waits for it, in bounds, and its delivery in batches, by size, by count and by time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from services.worker.sandbox.runtime_api.telemetry.receiver import DeliveryError, Receiver
from services.worker.sandbox.runtime_api.telemetry.subscription import Subscription
from services.worker.sandbox.spec import SandboxError
from services.worker.sandbox.work_budget import BYTES_A_STEP, LOG_BYTES_A_STEP, REQUEST_STEPS, WorkBudget

DELIVERY_TIMEOUT_S = 5.0
"""What a receiver has to take a batch, while its sandbox runs."""
WAITING_BATCHES_MAX = 2
"""So many full ones are held for a receiver that is slower than what it subscribed to."""
SLOW = "Some logs were dropped because the downstream consumer is slower than the logs production rate"


class Subscriber:
    """on_dropped: told of what is lost, as (bytes, records, why)."""

    def __init__(
        self,
        name: str,
        subscription: Subscription,
        receiver: Receiver,
        budget: WorkBudget,
        on_dropped: Callable[[int, int, str], bytes],
    ) -> None:
        self.name = name
        self.subscription = subscription
        self._receiver = receiver
        self._budget = budget
        self._on_dropped = on_dropped
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._dropped_bytes = 0
        self._dropped_records = 0
        self._due_at = 0.0
        self._due = asyncio.Event()
        self._awake = asyncio.Event()
        self._awake.set()
        self._delivery: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = {self._loop.create_task(self._deliver(), name=f"telemetry-{name}")}

    def add(self, item: bytes) -> None:
        """item: one record's JSON. The oldest go when there is no room."""
        self._budget.spend(1 + len(item) // LOG_BYTES_A_STEP)
        self._waiting.append(item)
        self._bytes += len(item)
        subscription = self.subscription
        if self._bytes >= subscription.bytes_max or len(self._waiting) >= subscription.items_max:
            self._due.set()
            self._make_room()
        elif self._timer is None:
            self._timer = self._loop.call_later(subscription.timeout_s, self._on_time)

    def flush(self) -> None:
        """Do not wait for more."""
        if self._waiting:
            self._due.set()

    def pause(self) -> None:
        """The sandbox is frozen: its server takes nothing, and that is no fault of its."""
        self._awake.clear()
        if self._delivery is not None and not self._delivery.expired():
            self._delivery.reschedule(None)

    def resume(self) -> None:
        self._awake.set()
        if self._delivery is not None and not self._delivery.expired():
            self._delivery.reschedule(self._loop.time() + DELIVERY_TIMEOUT_S)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._tasks:
            task.cancel()
        self._receiver.close()
        self._waiting.clear()

    def _on_time(self) -> None:
        self._timer = None
        self.flush()

    def _make_room(self) -> None:
        subscription = self.subscription
        bytes_max, items_max = WAITING_BATCHES_MAX * subscription.bytes_max, WAITING_BATCHES_MAX * subscription.items_max
        while len(self._waiting) > 1 and (self._bytes > bytes_max or len(self._waiting) > items_max):
            item = self._waiting.popleft()
            self._bytes -= len(item)
            self._dropped_bytes += len(item)
            self._dropped_records += 1

    async def _deliver(self) -> None:
        delivering = True
        while delivering:
            await self._due.wait()
            if self._budget.is_over():
                granted: asyncio.Future[None] = self._loop.create_future()
                self._budget.wait(lambda future=granted: None if future.done() else future.set_result(None))  # type: ignore[misc]
                await granted
            await self._awake.wait()
            batch = self._take()
            if not self._waiting:
                self._due.clear()
            if batch:
                delivering = await self._send(batch)

    async def _send(self, batch: list[bytes]) -> bool:
        """False when the sandbox has come to its end."""
        why = ""
        self._budget.spend(REQUEST_STEPS + sum(map(len, batch)) // BYTES_A_STEP)
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S) as self._delivery:
                await self._receiver.send(batch)
        except TimeoutError:
            why = SLOW
        except DeliveryError as error:
            why = f"could not send events: {error}"
        except SandboxError:
            return False
        finally:
            self._delivery = None
        if why:
            self._tell_dropped(sum(map(len, batch)), len(batch), why)
        return True

    def _take(self) -> list[bytes]:
        """As many of the oldest as go in one batch; what went before them, first."""
        subscription = self.subscription
        if self._dropped_records:
            size_bytes, records = self._dropped_bytes, self._dropped_records
            self._dropped_bytes = self._dropped_records = 0
            self._tell_dropped(size_bytes, records, SLOW)
        batch: list[bytes] = []
        size = 0
        while self._waiting and len(batch) < subscription.items_max:
            item = self._waiting[0]
            if batch and size + len(item) > subscription.bytes_max:
                break
            batch.append(self._waiting.popleft())
            size += len(item)
        self._bytes -= size
        return batch

    def _tell_dropped(self, size_bytes: int, records: int, why: str) -> None:
        item = self._on_dropped(size_bytes, records, why)
        self._waiting.appendleft(item)
        self._bytes += len(item)
