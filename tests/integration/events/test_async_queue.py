"""Asynchronous events on a real Kafka: what was accepted is run, retried, delayed or told of, and never lost."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from services.poller import admission, async_queue, cancellations
from services.poller.async_queue import AsyncPoller
from services.poller.delays import DelayConsumer
from shared.domain.errors import (
    CannotRunError,
    InvalidRuntimeException,
    InvalidZipFileException,
    InvocationLostError,
    NoCapacityError,
    ResponseLostError,
    ServiceException,
    TooManyRequestsException,
)
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.producer import BatchingProducer, ProduceError
from shared.events.queue import AsyncQueue
from shared.events.records import Condition, decode_outcome
from shared.events.topics import TopicNames, ensure_topics
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import (
    FAILED,
    OK,
    QUEUE,
    Functions,
    committed,
    event,
    read_topic,
    running,
    settings_of,
    until,
)
from tests.support import PATIENCE_S


@contextlib.asynccontextmanager
async def queue_of(settings: Settings) -> AsyncIterator[AsyncQueue]:
    queue = AsyncQueue(settings)
    await queue.open()
    try:
        yield queue
    finally:
        await queue.close()


@contextlib.asynccontextmanager
async def producing(settings: Settings) -> AsyncIterator[BatchingProducer]:
    producer = BatchingProducer.of(settings, "test")
    await producer.open()
    try:
        yield producer
    finally:
        await producer.close()


@contextlib.asynccontextmanager
async def poller_of(settings: Settings, functions: Functions, *, delays: bool = False) -> AsyncIterator[AsyncQueue]:
    """A queue, a poller and, where the test waits for them, the delay tiers' consumer."""
    async with contextlib.AsyncExitStack() as stack:
        queue = await stack.enter_async_context(queue_of(settings))
        producer = await stack.enter_async_context(producing(settings))
        await stack.enter_async_context(running(AsyncPoller(settings, functions, producer).run))
        if delays:
            await stack.enter_async_context(running(DelayConsumer(settings, producer).run))
        yield queue


async def test_every_accepted_event_runs_once_with_its_own_id(kafka_engine: KafkaCluster) -> None:
    functions = Functions()
    async with poller_of(settings_of(kafka_engine), functions) as queue:
        sent = [event(payload=b'{"n": %d}' % n) for n in range(500)]
        await asyncio.gather(*map(queue.enqueue, sent))
        await until(lambda: len(functions.calls) >= 500)
    assert sorted(functions.ids()) == sorted(e.event_id for e in sent)
    assert {call.payload for call in functions.calls} == {e.payload for e in sent}


async def test_a_poller_begins_at_once_though_nothing_was_ever_cancelled(
    kafka_engine: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first question about cancellations waits for no fetch of them."""
    monkeypatch.setattr(cancellations, "FETCH_WAIT_MS", int(4 * PATIENCE_S * 1_000))
    functions = Functions()
    async with poller_of(settings_of(kafka_engine), functions) as queue:
        await queue.enqueue(event())
        await until(lambda: functions.calls)


@pytest.mark.parametrize(
    "error",
    [
        InvalidZipFileException("'../x' leaves the package"),
        InvalidRuntimeException("No worker of this cluster has the runtime java21."),
    ],
    ids=lambda error: error.code,
)
async def test_an_event_that_no_worker_will_ever_run_ends_at_once_and_says_why(
    kafka_engine: KafkaCluster, caplog: pytest.LogCaptureFixture, error: CannotRunError
) -> None:
    async def refused(invocation: Invocation) -> InvocationResult:
        raise error

    settings = settings_of(kafka_engine)
    functions = Functions(refused, on_failure_arn=QUEUE, retry_attempts_max=2)
    sent = event()
    async with poller_of(settings, functions, delays=True) as queue:
        await queue.enqueue(sent)
        [told] = await read_topic(kafka_engine, TopicNames.of(settings.events).outcomes, 1)
    outcome = decode_outcome(told.value)
    assert (outcome.event_id, outcome.condition, outcome.attempts) == (sent.event_id, Condition.RETRIES_EXHAUSTED, 0)
    assert outcome.last is not None
    assert msgspec.json.decode(outcome.last.payload) == {"errorMessage": error.message, "errorType": error.code}
    assert functions.ids() == [sent.event_id]
    lines = [record for record in caplog.records if sent.event_id in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].exc_info is None


async def test_an_event_runs_in_its_region_and_one_that_names_none_in_the_clusters_own(kafka_engine: KafkaCluster) -> None:
    functions, settings = Functions(), settings_of(kafka_engine)
    here, there = event(name="f"), event(name="f", region="eu-west-1")
    # As a version without regions wrote it: the fields up to the last that it knew.
    older = b"\x01" + msgspec.msgpack.encode(list(msgspec.structs.astuple(here))[:8])
    async with poller_of(settings, functions) as queue, producing(settings) as producer:
        await producer.send(TopicNames.of(settings.events).asynchronous, older)
        await until(lambda: functions.names == ["f"])
        await queue.enqueue(there)
        await until(lambda: len(functions.names) == 2)
    assert functions.names[1] == "arn:aws:lambda:eu-west-1:000000000000:function:f"
    assert functions.ids() == [here.event_id, there.event_id]


async def test_an_events_target_is_found_once_an_attempt_and_what_follows_obeys_it(kafka_engine: KafkaCluster) -> None:
    """Of a weighted alias one version is drawn each time it is asked for."""
    functions = Functions(retry_attempts_max=1, on_success_arn=f"{QUEUE}q", on_failure_arn=f"{QUEUE}q")

    async def fails_once(_: Invocation) -> InvocationResult:
        return FAILED if len(functions.calls) == 1 else OK

    functions.behave = fails_once
    functions.versions = ("1", "2")
    settings = settings_of(kafka_engine)
    async with poller_of(settings, functions, delays=True) as queue:
        await queue.enqueue(event())
        [told] = await read_topic(kafka_engine, TopicNames.of(settings.events).outcomes, 1)
    assert [target.spec.version for target in functions.resolved] == ["1", "2"]
    assert decode_outcome(told.value).attempts == 2


async def test_a_record_waits_for_room_and_is_refused_when_none_comes(
    kafka_engine: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(kafka_engine)
    names = TopicNames.of(settings.events)
    await ensure_topics(settings)
    async with producing(settings) as producer:
        await producer.send(names.asynchronous, b"x")
        producer._room.clear()
        ended: list[Exception | None] = []
        producer.start(names.asynchronous, b"x", ended.append)
        producer.start(names.asynchronous, b"x", ended.append).cancel()
        asyncio.get_running_loop().call_later(0.1, producer._room.set)
        await until(lambda: ended)
        assert ended == [None]
        producer._timeout_s = 0.3
        producer._room.clear()
        producer.start(names.asynchronous, b"x", ended.append)
        await until(lambda: len(ended) == 2)
        producer._room.clear()
        producer.start(names.asynchronous, b"x", ended.append)
    assert [type(error) for error in ended] == [type(None), ProduceError, ProduceError]


async def test_a_drain_counts_out_everything_that_was_held_whatever_it_waits_for(
    kafka_engine: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would stay counted would in the end stop the fetching."""
    monkeypatch.setattr(async_queue, "DRAIN_S", 0.2)
    monkeypatch.setattr(admission, "CROWDED_WAIT_S_MAX", 0.05)
    settings = settings_of(kafka_engine, in_flight_max=4)
    waiting: list[str] = []

    async def hangs(_: Invocation) -> InvocationResult:
        await asyncio.Event().wait()
        raise AssertionError

    async def never_written(delay_s: int, topic: str, value: bytes) -> None:
        waiting.append(topic)
        await asyncio.Event().wait()

    functions = Functions(hangs)
    async with queue_of(settings) as queue, producing(settings) as producer:
        poller = AsyncPoller(settings, functions, producer)
        monkeypatch.setattr(poller._tiers, "put", never_written)
        async with running(poller.run):
            await asyncio.gather(*(queue.enqueue(event(payload=b"%d" % n)) for n in range(20)))
            # Some run, some wait to be put back, some only wait.
            await until(lambda: functions.calls and waiting)
            assert poller._held_bytes > 0
        assert (poller._held_bytes, poller._admission.held) == (0, 0)
        assert functions.cancelled == len(functions.calls)


async def test_a_record_that_kafka_does_not_acknowledge_in_time_fails_once_whoever_waits(kafka_engine: KafkaCluster) -> None:
    settings = settings_of(kafka_engine)
    names = TopicNames.of(settings.events)
    await ensure_topics(settings)
    ended: list[Exception | None] = []
    async with producing(settings) as producer:
        # The first has to wait until the topic is known, the second has not.
        for number in (1, 2):
            producer.start(names.asynchronous, b"x", ended.append)
            assert len(ended) == number - 1
            await until(lambda number=number: len(ended) == number)
        assert ended == [None, None]
        producer._timeout_s = 0.3
        real, producer._producer = producer._producer, None
        producer._lanes[names.asynchronous].scheduled = True  # as if every place in flight were taken
        producer.start(names.asynchronous, b"x", ended.append)
        with pytest.raises(ProduceError, match="in time"):
            await producer.send(names.asynchronous, b"x")
        producer._producer = real
    assert [type(error) for error in ended] == [type(None), type(None), ProduceError]


async def test_a_delivery_that_breaks_in_a_way_nobody_foresaw_leaves_nobody_waiting(
    kafka_engine: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("on purpose")

    settings = settings_of(kafka_engine)
    names = TopicNames.of(settings.events)
    await ensure_topics(settings)
    async with producing(settings) as producer:
        await producer.send(names.asynchronous, b"x")
        with monkeypatch.context() as patched:
            patched.setattr(producer._producer, "send_batch", broken)
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(ProduceError, match="broken off"):
                    await producer.send(names.asynchronous, b"x")
        await producer.send(names.asynchronous, b"x")


async def test_brokers_are_known_by_the_names_that_kafka_advertises(kafka_engine: KafkaCluster) -> None:
    """Which need not be those that the settings name: functions must not reach either."""
    host, _, port = kafka_engine.bootstrap_servers.partition(":")
    assert host == "127.0.0.1"
    settings = settings_of(kafka_engine).model_copy(update={"kafka_bootstrap_servers": f"localhost:{port}"})
    queue = AsyncQueue(settings)
    assert queue.brokers() == []
    async with queue_of(settings) as queue:
        assert queue.brokers() == [(host, int(port))]


async def test_an_event_of_one_mebibyte_fits(kafka_engine: KafkaCluster) -> None:
    functions = Functions()
    async with poller_of(settings_of(kafka_engine), functions) as queue:
        large = event(payload=b'"' + b"x" * (1024 * 1024 - 2) + b'"')
        await queue.enqueue(large)
        await until(lambda: functions.calls)
    assert functions.calls[0].payload == large.payload


@pytest.mark.covers("events", "async-default-attempts", "async-event-is-unchanged-per-attempt")
async def test_a_failing_event_is_retried_after_its_delays_and_then_told_of(kafka_engine: KafkaCluster) -> None:
    async def fails(_: Invocation) -> InvocationResult:
        return FAILED

    functions = Functions(fails, on_failure_arn=f"{QUEUE}q", dead_letter_arn=f"{QUEUE}d")
    settings = settings_of(kafka_engine, retries_s=(1, 2))
    async with poller_of(settings, functions, delays=True) as queue:
        await queue.enqueue(sent := event())
        [told] = await read_topic(kafka_engine, TopicNames.of(settings.events).outcomes, 1)
    assert functions.ids() == [sent.event_id] * 3
    first, second, third = functions.times
    assert 0.95 <= second - first < 4
    assert 1.95 <= third - second < 6
    outcome = decode_outcome(told.value)
    assert (outcome.condition, outcome.attempts) == (Condition.RETRIES_EXHAUSTED, 3)
    assert outcome.last is not None
    assert outcome.last.payload == FAILED.payload
    assert outcome.request_payload == sent.payload


async def test_a_run_whose_response_was_lost_is_an_attempt_that_failed(kafka_engine: KafkaCluster) -> None:
    settings = settings_of(kafka_engine, retries_s=(1, 1))

    async def lost(_: Invocation) -> InvocationResult:
        raise ResponseLostError("half of it")

    functions = Functions(lost, retry_attempts_max=1, on_failure_arn=QUEUE)
    async with poller_of(settings, functions, delays=True) as queue:
        await queue.enqueue(event())
        [told] = await read_topic(kafka_engine, TopicNames.of(settings.events).outcomes, 1)
    outcome = decode_outcome(told.value)
    assert (outcome.condition, outcome.attempts) == (Condition.RETRIES_EXHAUSTED, 2)
    assert outcome.last is not None
    assert outcome.last.function_error == "Unhandled"
    assert len(functions.calls) == 2


async def test_success_is_told_only_to_who_asked(kafka_engine: KafkaCluster) -> None:
    functions = Functions(on_success_arn=f"{QUEUE}q")
    settings = settings_of(kafka_engine)
    async with poller_of(settings, functions) as queue:
        await queue.enqueue(sent := event())
        [told] = await read_topic(kafka_engine, TopicNames.of(settings.events).outcomes, 1)
    outcome = decode_outcome(told.value)
    assert (outcome.event_id, outcome.condition, outcome.attempts) == (sent.event_id, Condition.SUCCESS, 1)
    assert outcome.targets == (f"{QUEUE}q",)


@pytest.mark.covers("events", "async-throttle-and-system-retry")
async def test_events_that_could_not_run_come_back_without_using_an_attempt(kafka_engine: KafkaCluster) -> None:
    refusals = [
        TooManyRequestsException("X"),
        NoCapacityError("x"),
        InvocationLostError("x"),
        ServiceException("x"),
        ValueError("x"),
    ]
    refused: set[str] = set()

    async def refused_once(invocation: Invocation) -> InvocationResult:
        if invocation.request_id not in refused:
            refused.add(invocation.request_id)
            raise refusals[int(invocation.payload)]
        return OK

    functions = Functions(refused_once, retry_attempts_max=0, on_success_arn=f"{QUEUE}q")
    settings = settings_of(kafka_engine)
    async with poller_of(settings, functions, delays=True) as queue:
        await asyncio.gather(*(queue.enqueue(event(payload=b"%d" % n)) for n in range(len(refusals))))
        told = await read_topic(kafka_engine, TopicNames.of(settings.events).outcomes, len(refusals))
    outcomes = [decode_outcome(record.value) for record in told]
    assert {(o.condition, o.attempts) for o in outcomes} == {(Condition.SUCCESS, 1)}
    assert len(functions.calls) == 2 * len(refusals)


@pytest.mark.covers("events", "async-conditions", "async-drop-rules")
async def test_an_event_that_is_too_old_or_has_no_concurrency_goes_straight_to_its_end(kafka_engine: KafkaCluster) -> None:
    for functions, age_s, condition in (
        (Functions(event_age_s_max=60, on_failure_arn=f"{QUEUE}q"), 61.0, Condition.EVENT_AGE_EXCEEDED),
        (Functions(reserved=0, on_failure_arn=f"{QUEUE}q"), 0.0, Condition.ZERO_RESERVED_CONCURRENCY),
    ):
        settings = settings_of(kafka_engine)
        async with poller_of(settings, functions) as queue:
            await queue.enqueue(event(age_s=age_s))
            [told] = await read_topic(kafka_engine, TopicNames.of(settings.events).outcomes, 1)
        outcome = decode_outcome(told.value)
        assert (outcome.condition, outcome.attempts, outcome.last) == (condition, 0, None)
        assert functions.calls == []


async def test_slow_functions_do_not_hold_up_the_others(kafka_engine: KafkaCluster) -> None:
    release = asyncio.Event()

    async def slow_waits(invocation: Invocation) -> InvocationResult:
        if invocation.payload == b'"slow"':
            await release.wait()
        return OK

    functions = Functions(slow_waits)
    settings = settings_of(kafka_engine, in_flight_max=8)
    async with poller_of(settings, functions, delays=True) as queue:
        await asyncio.gather(*(queue.enqueue(event("slow", b'"slow"')) for _ in range(60)))
        await asyncio.gather(*(queue.enqueue(event("fast")) for _ in range(40)))
        await until(lambda: functions.names.count("fast") == 40, "the fast ones, behind slow ones that all wait")
        assert functions.names.count("slow") < 60
        release.set()
        await until(lambda: len({c.request_id for c in functions.calls}) == 100, "the slow ones too")


@pytest.mark.covers("events", "async-at-least-once")
async def test_a_poller_that_is_killed_in_the_middle_loses_nothing(kafka_engine: KafkaCluster) -> None:
    settings = settings_of(kafka_engine)
    done: collections.Counter[str] = collections.Counter()
    stuck = asyncio.Event()

    async def every_third_hangs(invocation: Invocation) -> InvocationResult:
        if int(invocation.payload) % 3 == 0:
            await stuck.wait()
        done[invocation.request_id] += 1
        return OK

    async def works(invocation: Invocation) -> InvocationResult:
        done[invocation.request_id] += 1
        return OK

    async with queue_of(settings) as queue, producing(settings) as producer:
        sent = [event("works" if n % 3 else "hangs", b"%d" % n) for n in range(120)]
        await asyncio.gather(*map(queue.enqueue, sent))
        first = AsyncPoller(settings, Functions(every_third_hangs), producer)
        async with running(first.run, kill=True):
            await until(lambda: sum(done.values()) == 80, "all that do not hang")
        async with running(AsyncPoller(settings, Functions(works), producer).run):
            await until(lambda: set(done) == {e.event_id for e in sent}, "those that hung when the first was killed")
            await until(lambda: _all_committed(kafka_engine, settings, 120), "the commit")
    # What the first had settled out of order was written beside its offset: it is not run again.
    assert set(done.values()) == {1}


async def _all_committed(kafka: KafkaCluster, settings: Settings, count: int) -> bool:
    offsets = await committed(kafka, TopicNames.of(settings.events).asynchronous)
    return sum(max(0, found.offset) for found in offsets.values()) == count


async def test_two_pollers_share_the_partitions_and_take_over_from_each_other(kafka_engine: KafkaCluster) -> None:
    settings = settings_of(kafka_engine)
    one, two = Functions(), Functions()
    async with queue_of(settings) as queue, producing(settings) as producer:
        async with running(AsyncPoller(settings, one, producer).run):
            async with running(AsyncPoller(settings, two, producer).run):

                async def both_work() -> bool:
                    await asyncio.gather(*(queue.enqueue(event()) for _ in range(20)))
                    return bool(one.calls and two.calls)

                await until(both_work, "events at both")
            before = len(one.calls)
            last = [event() for _ in range(50)]
            await asyncio.gather(*map(queue.enqueue, last))
            await until(lambda: {e.event_id for e in last} <= set(one.ids()), "all at the one that is left")
        assert len(one.calls) >= before + 50


async def test_an_event_of_a_deleted_function_is_dropped_and_the_queue_goes_on(kafka_engine: KafkaCluster) -> None:
    functions = Functions()
    functions.gone.add("gone")
    async with poller_of(settings_of(kafka_engine), functions) as queue:
        await queue.enqueue(event("gone"))
        await queue.enqueue(event("there"))
        await until(lambda: "there" in functions.names)
    assert "gone" not in functions.names


async def test_an_event_of_a_deleted_alias_goes_to_its_functions_dead_letter_queue(kafka_engine: KafkaCluster) -> None:
    asked: list[str | None] = []

    class Away(Functions):
        """The registry is away for the first who asks for the function itself."""

        async def resolve(self, arn: str, qualifier: str | None) -> InvokeTarget:
            asked.append(qualifier)
            if asked.count(None) == 1 and qualifier is None:
                raise ServiceException("away")
            return await super().resolve(arn, qualifier)

    functions = Away(dead_letter_arn=f"{QUEUE}dead", on_failure_arn=f"{QUEUE}of-latest")
    functions.gone.add("f:live")
    settings = settings_of(kafka_engine)
    async with poller_of(settings, functions, delays=True) as queue:
        await queue.enqueue(sent := event(qualifier="live"))
        [told] = await read_topic(kafka_engine, TopicNames.of(settings.events).outcomes, 1)
    outcome = decode_outcome(told.value)
    assert (outcome.event_id, outcome.dead_letter_arn, outcome.targets) == (sent.event_id, f"{QUEUE}dead", ())
    assert functions.calls == []
    assert asked == ["live", None, "live", None]


async def test_what_cannot_be_read_is_set_aside_and_the_queue_goes_on(kafka_engine: KafkaCluster) -> None:
    functions = Functions()
    settings = settings_of(kafka_engine)
    names = TopicNames.of(settings.events)
    async with poller_of(settings, functions) as queue, producing(settings) as producer:
        await producer.send(names.asynchronous, b"not a record")
        await queue.enqueue(event())
        await until(lambda: functions.calls)
        [aside] = await read_topic(kafka_engine, names.undeliverable, 1)
    assert aside.value == b"not a record"


async def test_the_next_poller_finds_events_that_waited_in_a_tier(kafka_engine: KafkaCluster) -> None:
    async def throttled(_: Invocation) -> InvocationResult:
        raise TooManyRequestsException("X")

    settings = settings_of(kafka_engine, backoffs_s=(1, 2))
    first = Functions(throttled)
    async with poller_of(settings, first) as queue:
        await asyncio.gather(*(queue.enqueue(event(payload=b"%d" % n)) for n in range(20)))
        await until(lambda: len(first.calls) >= 20)
    second = Functions()
    async with poller_of(settings, second, delays=True):
        await until(lambda: len(second.calls) >= 20)
    assert sorted(int(call.payload) for call in second.calls) == list(range(20))


async def test_topics_are_made_once_by_any_number_of_processes(kafka_engine: KafkaCluster) -> None:
    settings = settings_of(kafka_engine)
    await asyncio.gather(*(ensure_topics(settings) for _ in range(4)))
    await ensure_topics(settings)


async def test_without_kafka_an_event_is_refused_in_time() -> None:
    settings = settings_of(KafkaCluster(bootstrap_servers="127.0.0.1:1"), produce_timeout_s=0.5)
    producer = BatchingProducer.of(settings, "test")
    queue = AsyncQueue(settings)
    queue._producer = producer
    with pytest.raises(ServiceException):
        await queue.enqueue(event())
    await producer.close()
