"""What the tests of the event path share: a function that is a Python object, and the parts around it on real engines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.dispatch.client.invoker import Make
from shared.dispatch.client.run import OnEnd
from shared.domain.arns import LATEST
from shared.domain.errors import ResourceNotFoundException, TooManyRequestsException
from shared.domain.functions import EventInvokeConfig, InvokeTarget, VersionSpec
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.mappings import ErrorHandling, EventSourceMapping, MappingState, SourceKind
from shared.events.kafka import client_arguments
from shared.events.records import AsyncEvent
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.support import PATIENCE_S

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:"
MSK = "arn:aws:kafka:us-east-1:000000000000:cluster/lambdad/5c1a"
DEADLINE_S = PATIENCE_S

Behaviour = Callable[[Invocation], Awaitable[InvocationResult]]
OK = InvocationResult(b'"done"', "$LATEST")
FAILED = InvocationResult(b'{"errorMessage":"on purpose","errorType":"Exception"}', "$LATEST", function_error="Unhandled")


def settings_of(
    kafka: KafkaCluster, *, retries_s: tuple[int, ...] = (1, 1), backoffs_s: tuple[int, ...] = (1,), **more: Any
) -> Settings:
    """Settings with topics of their own and short delays."""
    events = {
        "topic_prefix": f"t{uuid.uuid4().hex[:10]}",
        "async_partitions": 2,
        "retry_delays_s": retries_s,
        "backoff_delays_s": backoffs_s,
        **more,
    }
    return Settings.model_validate(kafka.variables() | {"events": events, "instance": "test"})


class Functions:
    """Resolver and invoker in one: every function is known, runs `behave`, and is remembered."""

    def __init__(self, behave: Behaviour | None = None, *, reserved: int | None = None, **config: Any) -> None:
        self.behave = behave or self._works
        self.reserved = reserved
        self.config = EventInvokeConfig(**config)
        self.calls: list[Invocation] = []
        self.names: list[str] = []
        self.times: list[float] = []
        self.gone: set[str] = set()
        self.cancelled = 0
        self.resolved: list[InvokeTarget] = []
        self.versions: tuple[str, ...] = ("$LATEST",)
        self._running: set[asyncio.Task[None]] = set()

    async def _works(self, _: Invocation) -> InvocationResult:
        return OK

    async def resolve(self, arn: str, qualifier: str | None) -> InvokeTarget:
        """versions: those of an alias, one after the other."""
        function_name = arn.removeprefix(ARN)
        if function_name in self.gone or f"{function_name}:{qualifier}" in self.gone:
            raise ResourceNotFoundException(f"Function not found: {arn}:{qualifier or LATEST}")
        version = self.versions[len(self.resolved) % len(self.versions)]
        spec = VersionSpec(
            "k", "i", function_name, arn, version, "000000000000", "us-east-1", "python3.12", "h", "0", 1, 128, 3, 512, {}, "r", "l"
        )  # fmt: skip
        return InvokeTarget(spec, 1, arn, qualifier, self.reserved, "Active", self.config)

    async def invoke(self, arn: str, qualifier: str | None, invocation: Invocation, *, wait_s: float) -> InvocationResult:
        self.calls.append(invocation)
        self.names.append(arn.removeprefix(ARN))
        self.times.append(time.monotonic())
        return await self.behave(invocation)

    def start_made(self, arn: str, qualifier: str | None, make: Make, on_end: OnEnd, wait_s: float) -> Callable[[], None]:
        """Like the invoker's: the target is found once for a run, and what is run is made of it."""

        async def run() -> None:
            try:
                self.resolved.append(target := await self.resolve(arn, qualifier))
                invocation = make(target)
                if target.reserved_concurrency == 0:
                    raise TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded")
                result = await self.invoke(arn, qualifier, invocation, wait_s=wait_s)
            except Exception as error:
                on_end(None, error)
            else:
                on_end(result, None)

        running = asyncio.create_task(run())
        self._running.add(running)
        running.add_done_callback(self._running.discard)

        def cancel() -> None:
            self.cancelled += 1
            running.cancel()

        return cancel

    def ids(self) -> list[str]:
        return [call.request_id for call in self.calls]

    def records(self) -> list[dict[str, Any]]:
        """Of Kafka events, in the order they came."""
        return [r for call in self.calls for records in json.loads(call.payload)["records"].values() for r in records]


def event(
    name: str = "f", payload: bytes = b'{"n": 1}', *, age_s: float = 0.0, qualifier: str | None = None, **more: Any
) -> AsyncEvent:
    accepted_at_ms = int((time.time() - age_s) * 1_000)
    return AsyncEvent(str(uuid.uuid4()), name, qualifier, payload, accepted_at_ms=accepted_at_ms, **more)


async def until(condition: Callable[[], Any], what: str = "", *, deadline_s: float = DEADLINE_S) -> Any:
    """The condition's first truthy value. Awaits it when it is awaitable."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what or condition}"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(run: Callable[[asyncio.Event], Awaitable[None]], *, kill: bool = False) -> AsyncIterator[asyncio.Task[None]]:
    """A part's `run(stop)` while the context is open. kill: end it in the middle of whatever it does, not gracefully."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(run(stop))
    try:
        yield task
    finally:
        if kill:
            task.cancel()
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def make_topic(kafka: KafkaCluster, partitions: int = 1) -> str:
    name = f"source-{uuid.uuid4().hex[:10]}"
    await create_topic(kafka, name, partitions)
    return name


async def create_topic(kafka: KafkaCluster, name: str, partitions: int = 1) -> None:
    admin = AIOKafkaAdminClient(**client_arguments(kafka))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
        await until(lambda: _has_leaders(admin, name), "leaders of the topic")
    finally:
        await admin.close()


async def _has_leaders(admin: AIOKafkaAdminClient, name: str) -> bool:
    [topic] = await admin.describe_topics([name])
    return topic["error_code"] == 0 and all(p["leader"] >= 0 for p in topic["partitions"])


async def produce(kafka: KafkaCluster, topic: str, values: list[bytes], **options: Any) -> None:
    producer = AIOKafkaProducer(**client_arguments(kafka))
    await producer.start()
    try:
        await asyncio.gather(*[await producer.send(topic, value, **options) for value in values])
    finally:
        await producer.stop()


async def read_topic(kafka: KafkaCluster, topic: str, count: int) -> list[Any]:
    """The first `count` records of a topic."""
    consumer = AIOKafkaConsumer(topic, **client_arguments(kafka), auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    found: list[Any] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
    finally:
        await consumer.stop()
    return found


async def committed(kafka: KafkaCluster, group: str) -> dict[Any, Any]:
    admin = AIOKafkaAdminClient(**client_arguments(kafka))
    await admin.start()
    try:
        return dict(await admin.list_consumer_group_offsets(group))
    finally:
        await admin.close()


def mapping_of(topic: str, **more: Any) -> EventSourceMapping:
    fields: dict[str, Any] = {
        "uuid": str(uuid.uuid4()),
        "region": "us-east-1",
        "kind": SourceKind.MSK,
        "function_name": "f",
        "qualifier": None,
        "source_arn": MSK,
        "bootstrap_servers": (),
        "topics": (topic,),
        "consumer_group_id": str(uuid.uuid4()),
        "starting_position": "TRIM_HORIZON",
        "starting_timestamp_ms": None,
        "batch_size": 10,
        "batching_window_s": 0.1,
        "filters": (),
        "on_failure_arn": None,
        "error_handling": ErrorHandling(),
        "enabled": True,
        "state": MappingState.CREATING,
        "state_reason": "USER_INITIATED",
        "last_processing_result": "No records processed",
        "last_modified_ms": 0,
        "revision": 1,
    }
    fields |= more
    return EventSourceMapping(**{"function_arn": f"{ARN}{fields['function_name']}", **fields})
