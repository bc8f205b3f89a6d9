from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sqlalchemy import text

from shared.domain.mappings import MappingState
from shared.registry.registry import Registry
from tests.integration.registry.support import Control
from tests.support import PATIENCE_S

SOURCE = "arn:aws:kafka:us-east-1:000000000000:cluster/lambdad/8f2f2b6c-0000-4000-8000-000000000000-1"


async def create(control: Control, topic: str) -> str:
    name = await control.create()
    reply = await control(
        "CreateEventSourceMapping", FunctionName=name, EventSourceArn=SOURCE, Topics=[topic], StartingPosition="LATEST"
    )
    return str(reply["UUID"])


async def next_change(changes: AsyncIterator[None]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await anext(changes)


async def test_the_poller_sees_a_mapping_and_says_what_it_reached(control: Control, registry: Registry) -> None:
    uuid = await create(control, "orders")
    mapping = next(one for one in await registry.mappings.list_all() if one.uuid == uuid)
    assert (mapping.state, mapping.enabled, mapping.topics, mapping.source_arn) == (
        MappingState.CREATING,
        True,
        ("orders",),
        SOURCE,
    )
    assert (mapping.batch_size, mapping.batching_window_s, mapping.consumer_group_id) == (100, 0.5, uuid)
    assert await registry.mappings.set_state(uuid, MappingState.ENABLED, "USER_INITIATED", "OK", revision=mapping.revision)
    shown = await control("GetEventSourceMapping", UUID=uuid)
    assert (shown["State"], shown["LastProcessingResult"]) == ("Enabled", "OK")
    again = next(one for one in await registry.mappings.list_all() if one.uuid == uuid)
    assert again.revision == mapping.revision, "a state is the poller's own doing: it need not start over"


async def test_what_the_poller_reached_before_a_change_is_not_written_over_it(control: Control, registry: Registry) -> None:
    uuid = await create(control, "raced")
    mapping = next(one for one in await registry.mappings.list_all() if one.uuid == uuid)
    await control("UpdateEventSourceMapping", UUID=uuid, Enabled=False)
    assert not await registry.mappings.set_state(uuid, MappingState.ENABLED, "done", revision=mapping.revision)
    assert (await control("GetEventSourceMapping", UUID=uuid))["State"] == "Disabling"
    await control("DeleteEventSourceMapping", UUID=uuid)
    assert not await registry.mappings.set_state(uuid, MappingState.DISABLED, "done")
    assert await registry.mappings.delete(uuid)
    assert not await registry.mappings.delete(uuid)


async def test_changes_are_told_by_notification(control: Control, registry: Registry) -> None:
    changes = registry.mappings.changes(poll_s=600)
    await next_change(changes)
    uuid = await create(control, "told")
    await next_change(changes)
    await control("UpdateEventSourceMapping", UUID=uuid, BatchSize=7)
    await next_change(changes)
    await registry.mappings.delete(uuid)
    await next_change(changes)
    await changes.aclose()


async def test_changes_are_found_without_notifications_too(control: Control, registry: Registry) -> None:
    changes = registry.mappings.changes(poll_s=0.05)
    await next_change(changes)
    uuid = await create(control, "polled")
    await next_change(changes)
    async with registry.write() as connection:
        await connection.execute(
            text("UPDATE event_source_mappings SET revision = nextval('registry_revision') WHERE uuid = :uuid"), {"uuid": uuid}
        )
    await next_change(changes)
    await changes.aclose()


async def test_concurrent_creators_of_one_mapping_make_one(control: Control) -> None:
    name = await control.create()
    results = await asyncio.gather(
        *(
            control(
                "CreateEventSourceMapping", FunctionName=name, EventSourceArn=SOURCE, Topics=["one"], StartingPosition="LATEST"
            )
            for _ in range(6)
        ),
        return_exceptions=True,
    )
    made = [result for result in results if isinstance(result, dict)]
    assert len(made) == 1
    listed = await control("ListEventSourceMappings", FunctionName=name)
    assert [one["UUID"] for one in listed["EventSourceMappings"]] == [made[0]["UUID"]]
