"""Many functions share one poller: backlogs of some and the throttling of another are in nobody's way, and nobody starves."""

from __future__ import annotations

import asyncio
import collections

from services.poller.async_queue import AsyncPoller
from services.poller.delays import DelayConsumer
from shared.domain.errors import TooManyRequestsException
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.producer import BatchingProducer
from shared.events.queue import AsyncQueue
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import OK, Functions, event, running, settings_of, until

BACKLOG = [f"backlog-{number}" for number in range(4)]
EACH = 800
"""Events of a function with a backlog: many times what the poller of this test may hold of all functions together."""
THROTTLED, WAITING = "throttled", 150
OTHERS = [f"other-{number}" for number in range(20)]
FEW = 10
RUN_S = 0.01


class Counted(Functions):
    """Of the throttled function one event runs at a time, of the others as many as are started."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[str] = []
        """Names, in the order in which their events ended."""
        self.busy: collections.Counter[str] = collections.Counter()

    async def invoke(self, arn: str, qualifier: str | None, invocation: Invocation, *, wait_s: float) -> InvocationResult:
        name = invocation.payload.decode()
        if name == THROTTLED and self.busy[name]:
            raise TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded")
        self.busy[name] += 1
        await asyncio.sleep(RUN_S)
        self.busy[name] -= 1
        self.ended.append(name)
        return OK

    def all_ended(self, names: list[str], each: int) -> bool:
        count = collections.Counter(self.ended)
        return all(count[name] == each for name in names)


async def test_functions_take_turns_whatever_the_others_have_waiting(kafka_engine: KafkaCluster) -> None:
    settings = settings_of(kafka_engine, in_flight_max=40, backoffs_s=(1, 2))
    functions = Counted()
    queue = AsyncQueue(settings)
    producer = BatchingProducer.of(settings, "test")
    await queue.open()
    await producer.open()
    before = [THROTTLED] * WAITING + [name for _ in range(EACH) for name in BACKLOG]
    after = [name for _ in range(FEW) for name in OTHERS]
    try:
        # All that is a backlog is in Kafka before the first event of another function, and before anything is run.
        for names in (before, after):
            await asyncio.gather(*(queue.enqueue(event(name, name.encode())) for name in names))
        async with (
            running(AsyncPoller(settings, functions, producer).run),
            running(DelayConsumer(settings, producer).run),
        ):
            await until(lambda: functions.all_ended(OTHERS, FEW), "the functions with few events, behind all the others'")
            ended = collections.Counter(functions.ended)
            await until(lambda: functions.all_ended(BACKLOG, EACH), "the backlogs")
            await until(lambda: functions.all_ended([THROTTLED], WAITING), "the throttled function's")
    finally:
        await producer.close()
        await queue.close()
    assert sum(ended[name] for name in BACKLOG) < len(BACKLOG) * EACH / 2, "the few did not wait for the many"
    assert all(ended[name] > 0 for name in (*BACKLOG, THROTTLED)), "and took nobody's turn"
    assert len(functions.ended) == len(before) + len(after), "each ran once"
