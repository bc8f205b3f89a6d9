"""Schedules fire from Postgres into Kafka: each firing once, whoever fires it and whatever happens in between.

The clock is the test's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from services.scheduler.schedules import firing as firing_module
from services.scheduler.schedules.firing import CLAIMED_MAX, Schedules
from shared.domain.arns import Home
from shared.domain.errors import LambdadError
from shared.domain.event_buses import Rule, RuleState
from shared.domain.schedules import Schedule
from shared.events.bus_events import decode_bus_event
from shared.events.records import Delivery, decode_delivery
from shared.events.topics import TopicNames, ensure_topics
from shared.registry import scheduler, timers
from shared.registry.events import buses, rules
from shared.registry.registry import Registry
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.integration.events.parts import read_topic, settings_of
from tests.integration.registry.support import emptied, new_database
from tests.integration.registry.support import settings_of as registry_settings

HOME = Home("000000000000", "us-east-1")
NOW = 1_750_000_000_000
MINUTE, HOUR = 60_000, 3_600_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW

    def __call__(self) -> int:
        return self.now_ms


class World:
    """settings: of a database and topics of its own."""

    def __init__(self, settings: Settings, registry: Registry, kafka: KafkaCluster) -> None:
        self.settings = settings
        self.registry = registry
        self.kafka = kafka
        self.clock = Clock()
        self._open: list[Schedules] = []

    async def scheduler(self) -> Schedules:
        found = Schedules(self.settings, self.clock)
        self._open.append(found)
        await found._producer.open()
        return found

    async def make(self, *names: str, expression: str = "rate(5 minutes)", **more: Any) -> list[Schedule]:
        target = {"Arn": "arn:aws:sqs:us-east-1:000000000000:q", "RoleArn": "r", "Input": "<aws.scheduler.scheduled-time>"}
        now = self.clock.now_ms
        made = []
        async with self.registry.write() as connection:
            await scheduler.find_group(connection, HOME, "default", now)
            for name in names:
                common = Schedule(
                    HOME, "default", name, expression, "UTC", "ENABLED", None, None, None, None, None, "NONE", target, now, now
                )  # fmt: skip
                schedule = msgspec.structs.replace(common, **more)
                assert await scheduler.create_schedule(connection, schedule)
                await timers.start(connection, schedule.arn, schedule.timing(now), now)
                made.append(schedule)
        return made

    async def fired(self, count: int) -> list[Delivery]:
        """What was handed over so far, which is `count`: a last record shows that no more was."""
        topic = TopicNames.of(self.settings.events).deliveries
        last = await self.scheduler()
        await last._producer.send(topic, b"last")
        found: list[Delivery] = []
        ends = 0
        records = await read_topic(self.kafka, topic, count + 1)
        for record in records:
            if record.value == b"last":
                ends += 1
            else:
                found.append(decode_delivery(record.value))
        assert (len(found), ends) == (count, 1)
        return found

    async def close(self) -> None:
        for each in self._open:
            await each.close()


@pytest_asyncio.fixture(scope="module")
async def database_url(postgres_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with new_database(postgres_engine) as url:
        registry = Registry(registry_settings(url, tmp_path_factory.mktemp("firing")))
        await registry.migrate()
        await registry.close()
        yield url


@pytest_asyncio.fixture
async def world(database_url: str, kafka_engine: KafkaCluster, tmp_path: Path) -> AsyncIterator[World]:
    """With nothing in the registry, and topics of its own."""
    settings = Settings.model_validate(
        {**settings_of(kafka_engine, async_partitions=1).model_dump(), "database_url": database_url, "data_dir": tmp_path}
    )
    names = TopicNames.of(settings.events)
    await ensure_topics(settings, {names.deliveries, names.events, names.asynchronous})
    registry = Registry(settings)
    await registry.open()
    await emptied(registry)
    world = World(settings, registry, kafka_engine)
    try:
        yield world
    finally:
        await world.close()
        await registry.close()


async def test_a_schedule_fires_when_it_is_due_and_then_in_its_phase(world: World) -> None:
    [schedule] = await world.make("s")
    one = await world.scheduler()
    counts = []
    for now_ms in (NOW, NOW + 1, NOW + 5 * MINUTE - 1, NOW + 5 * MINUTE + 700):
        world.clock.now_ms = now_ms
        counts.append(await one.fire_due())
    assert counts == [1, 0, 0, 1]
    first, second = await world.fired(2)
    assert (first.payload, second.payload) == (b"2025-06-15T15:06:40Z", b"2025-06-15T15:11:40Z")
    assert first.source_arn == schedule.arn
    assert first.delivery_id != second.delivery_id


async def test_what_is_due_at_one_time_fires_once_each_however_many_schedulers_there_are(world: World) -> None:
    count = 2 * CLAIMED_MAX + 40
    await world.make(*(f"s{number}" for number in range(count)), expression="at(2025-06-15T15:10:00)")
    world.clock.now_ms = NOW + HOUR // 2

    async def fire_all(one: Schedules) -> None:
        while await one.fire_due() or await one._pause_s() < firing_module.LOOK_EVERY_S:
            pass

    await asyncio.gather(*[fire_all(await world.scheduler()) for _ in range(3)])
    found = await world.fired(count)
    assert len({delivery.delivery_id for delivery in found}) == count


async def test_what_was_handed_over_by_one_that_died_before_it_was_settled_is_known_for_the_same_firing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.make("s")

    async def dies(*_: Any) -> None:
        raise LambdadError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(timers, "settle", dies)
        with pytest.raises(LambdadError):
            await (await world.scheduler()).fire_due()
    world.clock.now_ms += 900
    assert await (await world.scheduler()).fire_due() == 1
    first, again = await world.fired(2)
    assert first.delivery_id == again.delivery_id
    assert first.payload == again.payload


async def test_nothing_is_settled_that_kafka_has_not(world: World) -> None:
    await world.make("s")
    without = Settings.model_validate(
        {**world.settings.model_dump(), "kafka_bootstrap_servers": "127.0.0.1:1", "events": {"produce_timeout_s": 0.2}}
    )
    cut_off = Schedules(without, world.clock)
    with pytest.raises(LambdadError):
        await cut_off.fire_due()
    await cut_off.close()
    assert await (await world.scheduler()).fire_due() == 1


async def test_what_was_missed_while_no_scheduler_ran_fires_once_and_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.make("s")
    one = await world.scheduler()
    world.clock.now_ms = NOW + 3 * HOUR + 1
    assert await one.fire_due() == 1
    assert "1 firings are late" in caplog.text
    world.clock.now_ms = NOW + 3 * HOUR + 5 * MINUTE
    assert await one.fire_due() == 1
    assert [each.payload for each in await world.fired(2)] == [b"2025-06-15T15:06:40Z", b"2025-06-15T18:11:40Z"]


async def test_a_clock_that_was_ahead_and_is_put_back_makes_nothing_fire_twice_or_never(world: World) -> None:
    await world.make("s")
    one = await world.scheduler()
    await one.fire_due()
    world.clock.now_ms = NOW + 1_000 * HOUR
    await one.fire_due()
    world.clock.now_ms = NOW + MINUTE
    await one._put_back()
    assert await one.fire_due() == 0
    # Missed and so made up for once by the clock that was ahead: the first of the last day before it.
    counts = []
    for minutes in (5, 10):
        world.clock.now_ms = NOW + minutes * MINUTE
        counts.append(await one.fire_due())
    found = await world.fired(2 + sum(counts))
    assert len({delivery.delivery_id for delivery in found}) == len(found)


async def test_a_schedule_that_is_to_go_after_completion_goes_when_it_has_fired(world: World) -> None:
    await world.make("goes", expression="at(2025-06-15T15:10:00)", after_completion="DELETE")
    await world.make("stays", expression="at(2025-06-15T15:10:00)")
    await world.make("never", expression="at(2024-06-15T15:10:00)", after_completion="DELETE")
    world.clock.now_ms = NOW + HOUR
    assert await (await world.scheduler()).fire_due() == 2
    async with world.registry.read() as connection:
        left = await scheduler.page_of_schedules(connection, HOME, group=None, prefix="", state=None, after=("", ""), limit=10)
    assert [schedule.name for schedule in left] == ["never", "stays"]
    assert len(await world.fired(2)) == 2


async def test_a_schedule_of_which_nothing_can_be_made_keeps_no_other_from_firing(world: World) -> None:
    call = "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"
    await world.make("odd", target={"Arn": call, "RoleArn": "r", "Input": "{}"})
    await world.make("s")
    one = await world.scheduler()
    assert await one.fire_due() == 2
    assert await one.fire_due() == 0
    [delivery] = await world.fired(1)
    assert delivery.source_arn.endswith("/s")


async def test_a_scheduled_rule_makes_an_event_for_itself_every_period(world: World) -> None:
    rule = Rule(HOME, "default", "r", None, "rate(1 minute)", RuleState.ENABLED, None, None, [])
    async with world.registry.write() as connection:
        await buses.lock(connection, HOME, "default")
        await rules.put(connection, rule)
        timer = await timers.lock(connection, rule.arn)
        # Put again as it is, it keeps its phase.
        await rules.put(connection, msgspec.structs.replace(rule, description="d"))
        assert await timers.lock(connection, rule.arn) == timer
    assert timer is not None
    assert timer.due_ms is not None
    one = await world.scheduler()
    counts = []
    for later_ms in (-1, 0, MINUTE - 1, MINUTE):
        world.clock.now_ms = timer.due_ms + later_ms
        counts.append(await one.fire_due())
    assert counts == [0, 1, 0, 1]
    async with world.registry.write() as connection:
        await buses.lock(connection, HOME, "default")
        await rules.change(connection, rule, state="DISABLED")
        assert await timers.lock(connection, rule.arn) is None
    records = await read_topic(world.kafka, TopicNames.of(world.settings.events).events, 2)
    first, second = (decode_bus_event(record.value) for record in records)
    assert (first.source, first.detail_type, first.detail, first.rules) == ("aws.events", "Scheduled Event", b"{}", (rule.arn,))
    assert second.at_ms - first.at_ms == MINUTE
    assert first.event_id != second.event_id


async def test_the_loop_fires_in_time_what_is_made_while_it_runs(world: World) -> None:
    live = Schedules(world.settings)
    running = asyncio.create_task(live.run())
    world.clock.now_ms = live._now_ms()
    await world.make("s", expression="rate(1 day)")
    topic = TopicNames.of(world.settings.events).deliveries
    [record] = await read_topic(world.kafka, topic, 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await live.close()
    assert decode_delivery(record.value).source_arn.endswith("/s")
