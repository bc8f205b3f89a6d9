"""What the ledger is asked is answered from its rows, by an index, whatever else is in there."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text

from shared.domain.arns import Home, function_arn
from shared.ledger import deliveries, queries
from shared.ledger.deliveries import AskedDeliveries, LedgerDelivery
from shared.ledger.joining import Joined
from shared.ledger.queries import Asked
from shared.ledger.records import Batch, EventEntry, Status, StepEntry, StepKind
from shared.ledger.store import LedgerStore
from shared.registry.registry import Registry
from shared.settings import LedgerSettings, Settings
from tests.integration.registry.support import settings_of

HOME = Home("000000000000", "us-east-1")
NOW_MS = int(time.time() * 1_000)
DAY_MS = 24 * 3_600 * 1_000


def entry(number: int, function: int, status: Status, **more: object) -> EventEntry:
    at_ms = NOW_MS - number * 1_000
    return EventEntry(str(uuid.uuid4()), function, None, status, at_ms, at_ms + 5, 1, number, 1, at_ms + 2, "$LATEST", **more)  # type: ignore[arg-type]


@pytest_asyncio.fixture(scope="module")
async def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_of(database_url, tmp_path_factory.mktemp("queries"))


@pytest_asyncio.fixture(scope="module")
async def registry(settings: Settings) -> AsyncIterator[Registry]:
    registry = Registry(settings)
    await registry.open()
    yield registry
    await registry.close()


async def written(settings: Settings, batch: Batch) -> None:
    joined = Joined()
    joined.add(batch)
    store = LedgerStore(settings)
    await store.write(joined)
    await store.close()


async def test_pages_follow_each_other_without_a_gap_over_functions_and_partitions(
    settings: Settings, registry: Registry
) -> None:
    names = [f"f-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    far = [entry(number, number % 2, Status.SUCCEEDED) for number in range(0, 3 * 24 * 3_600, 5_000)]
    same = [entry(7, 0, Status.SUCCEEDED) for _ in range(9)]
    await written(settings, Batch([function_arn(HOME, name) for name in names], [*far, *same]))
    ids = {each.event_id for each in (*far, *same) if each.function == 0}
    found: list[queries.LedgerEvent] = []
    async with registry.read() as connection:
        while True:
            after = found[-1].position if found else None
            page = await queries.find(connection, HOME, Asked(names[0]), limit=4, after=after)
            found += page
            if len(page) < 4:
                break
        assert await queries.count(connection, HOME, Asked(names[0])) == len(ids)
        both = await queries.find(connection, HOME, Asked(), limit=500)
    assert [event.event_id for event in found] == list(dict.fromkeys(event.event_id for event in found))
    assert {event.event_id for event in found} == ids
    times = [event.accepted_ms for event in both]
    assert times == sorted(times, reverse=True)
    assert ids <= {event.event_id for event in both}


async def test_events_of_another_region_are_not_shown(settings: Settings, registry: Registry) -> None:
    here, there = entry(1, 0, Status.FAILED), entry(1, 1, Status.FAILED)
    other = Home(HOME.account_id, "eu-west-1")
    name = f"f-{uuid.uuid4().hex[:8]}"
    await written(settings, Batch([function_arn(HOME, name), function_arn(other, name)], [here, there]))
    async with registry.read() as connection:
        for home, mine in ((HOME, here), (other, there)):
            assert [event.event_id for event in await queries.find(connection, home, Asked(name), limit=9)] == [mine.event_id]
            both = Asked(ids=(here.event_id, there.event_id))
            assert [event.event_id for event in await queries.find(connection, home, both, limit=9)] == [mine.event_id]


async def test_events_are_found_by_what_happened_to_their_deliveries(settings: Settings, registry: Registry) -> None:
    failed, other = entry(1, 0, Status.FAILED, error="KeyError: k"), entry(2, 0, Status.FAILED, reason="RetriesExhausted")
    name = f"f-{uuid.uuid4().hex[:8]}"
    steps = [
        StepEntry(failed.event_id, NOW_MS, StepKind.DELIVERY_REFUSED, "topic", "no such topic"),
        StepEntry(failed.event_id, NOW_MS, StepKind.DEAD_LETTERED, "queue"),
    ]
    await written(settings, Batch([function_arn(HOME, name)], [failed, other], steps))
    async with registry.read() as connection:

        async def ids(**asked: object) -> list[str]:
            found = await queries.find(connection, HOME, Asked(name, **asked), limit=9)  # type: ignore[arg-type]
            return [event.event_id for event in found]

        assert await ids(steps=(StepKind.DEAD_LETTERED,)) == [failed.event_id]
        assert await ids(error="keyERROR") == [failed.event_id]
        assert await ids(error="exhausted") == [other.event_id]
        assert await ids(statuses=(Status.SUCCEEDED,)) == []
        found = (await queries.steps_of(connection, [failed.event_id, other.event_id]))[failed.event_id]
    assert [(step.kind, step.target, step.detail) for step in found] == [
        (StepKind.DEAD_LETTERED, "queue", None),
        (StepKind.DELIVERY_REFUSED, "topic", "no such topic"),
    ]


async def test_who_names_no_qualifier_has_the_latest_version_run(settings: Settings, registry: Registry) -> None:
    name = f"f-{uuid.uuid4().hex[:8]}"
    unqualified, latest, live = (
        msgspec.structs.replace(entry(number, 0, Status.FAILED), qualifier=qualifier)
        for number, qualifier in enumerate((None, "$LATEST", "live"))
    )
    await written(settings, Batch([function_arn(HOME, name)], [unqualified, latest, live]))
    async with registry.read() as connection:
        for qualifier, wanted in (("$LATEST", [unqualified, latest]), ("live", [live]), (None, [unqualified, latest, live])):
            found = await queries.find(connection, HOME, Asked(name, qualifier), limit=9)
            assert [event.event_id for event in found] == [each.event_id for each in wanted]


async def test_deliveries_are_found_by_what_became_of_them_for_whom_and_where(settings: Settings, registry: Registry) -> None:
    unique = uuid.uuid4().hex[:8]
    name, topic, rule = (
        f"f-{unique}",
        f"arn:aws:sns:us-east-1:000000000000:t-{unique}:s",
        f"arn:aws:events:eu-west-1:000000000000:rule/r-{unique}",
    )
    failed = entry(1, 0, Status.FAILED)
    messages = [str(uuid.uuid4()) for _ in range(5)]
    steps = [
        StepEntry(failed.event_id, NOW_MS, StepKind.KEPT, f"queue-{unique}", "there is no queue"),
        StepEntry(failed.event_id, NOW_MS, StepKind.DELIVERED, f"other-{unique}"),
        *(StepEntry(each, NOW_MS - 1, StepKind.DELIVERY_REFUSED, f"gone-{unique}", "not found", topic) for each in messages),
        StepEntry(messages[0], NOW_MS, StepKind.DELIVERY_REFUSED, f"gone-{unique}", "not found", rule),
    ]
    await written(settings, Batch([function_arn(HOME, name)], [failed], steps))

    async with registry.read() as connection:

        async def found(home: Home = HOME, **asked: object) -> list[tuple[str, str, str]]:
            listed = await deliveries.find(connection, home, AskedDeliveries(**asked), limit=99)  # type: ignore[arg-type]
            return [(each.event_id, each.kind.label, each.behalf) for each in listed]

        own = [(failed.event_id, "kept", function_arn(HOME, name))]
        of_topic = sorted((each, "delivery-refused", topic) for each in messages)
        assert await found(behalf=name) == own
        assert await found(target=f"queue-{unique}") == own
        assert sorted(await found(behalf=topic)) == of_topic
        assert sorted(await found(target=unique)) == sorted([*own, *of_topic]), "the newest of every kind, of this region"
        assert await found(Home(HOME.account_id, "eu-west-1"), target=unique) == [(messages[0], "delivery-refused", rule)]
        assert await found(target=unique, until_ms=NOW_MS - 1) == []
        assert [kind for _, kind, _ in await found(target=unique, kinds=(StepKind.DELIVERED,))] == ["delivered"]

        paged: list[LedgerDelivery] = []
        while True:
            after = paged[-1].position if paged else None
            page = await deliveries.find(connection, HOME, AskedDeliveries(target=unique), limit=2, after=after)
            paged += page
            if len(page) < 2:
                break
        assert sorted((each.event_id, each.kind.label, each.behalf) for each in paged) == sorted([*own, *of_topic])


async def test_no_list_reads_a_whole_partition(settings: Settings, registry: Registry) -> None:
    name = f"f-{uuid.uuid4().hex[:8]}"
    many = [entry(number % 3_000, 0, Status.SUCCEEDED) for number in range(4_000)]
    await written(settings, Batch([function_arn(HOME, name)], many))
    asked = [
        Asked(name),
        Asked(),
        Asked(ids=(many[0].event_id,)),
        Asked(name, statuses=(Status.FAILED,)),
        Asked(error="x"),
    ]
    async with registry.write() as connection:
        await connection.execute(text("ANALYZE ledger_events"))
        for each in asked:
            statement, values = queries._select(HOME, each, 50, None)
            plan = [row[0] for row in await connection.execute(text(f"EXPLAIN {statement}"), values)]
            large = [line for line in plan if "Seq Scan on ledger_events" in line and _rows(line) > 1_000]
            assert not large, "\n".join(plan)


def _rows(line: str) -> int:
    return int(line.split("rows=")[1].split()[0])


async def test_what_is_old_goes_and_what_is_not_stays(settings: Settings, registry: Registry) -> None:
    name = f"f-{uuid.uuid4().hex[:8]}"
    old, new = entry(6 * 24 * 3_600, 0, Status.SUCCEEDED), entry(1, 0, Status.SUCCEEDED)
    await written(settings, Batch([function_arn(HOME, name)], [old, new], [StepEntry(old.event_id, old.at_ms, 1)]))
    store = LedgerStore(settings.model_copy(update={"ledger": LedgerSettings(keep_h=120)}))
    await store.tend()
    late = Joined()
    late.add(Batch([function_arn(HOME, name)], [entry(6 * 24 * 3_600, 0, Status.SUCCEEDED)]))
    await store.write(late)
    await store.close()
    async with registry.read() as connection:
        found = await queries.find(connection, HOME, Asked(name), limit=9)
        assert [event.event_id for event in found] == [new.event_id]
        assert await queries.steps_of(connection, [old.event_id]) == {}


async def test_ids_that_are_no_uuids_are_kept_as_well(settings: Settings, registry: Registry) -> None:
    odd = EventEntry("not-a-uuid", 0, None, Status.SUCCEEDED, NOW_MS, NOW_MS, 0, 0, 1)
    plain = entry(1, 0, Status.SUCCEEDED)
    name = f"f-{uuid.uuid4().hex[:8]}"
    await written(settings, Batch([function_arn(HOME, name)], [odd, plain]))
    async with registry.read() as connection:
        assert len(await queries.find(connection, HOME, Asked(name), limit=9)) == 2
        assert len(await queries.find(connection, HOME, Asked(ids=("not-a-uuid",)), limit=9)) == 1
