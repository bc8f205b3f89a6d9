"""The poller and the router as services: they become ready on real engines, do their work, and stop."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from services.poller import main as poller
from services.router import main as router
from shared.domain.mappings import EventSourceMapping, MappingState
from shared.registry import mappings
from shared.registry.records import MappingRow
from shared.registry.registry import Registry
from shared.settings import Settings
from tests.conftest import Engines, settings_for
from tests.integration.events.parts import make_topic, mapping_of, running, until

STOP_S_MAX = 10.0

Serve = Callable[[Settings, asyncio.Event], Awaitable[None]]


@pytest.fixture
def of_its_own(engines: Engines, tmp_path: Any) -> Settings:
    """Settings with topics and a health port of their own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = settings_for(engines, tmp_path)
    events = settings.events.model_copy(update={"topic_prefix": f"t{uuid.uuid4().hex[:10]}", "async_partitions": 2})
    telemetry = settings.telemetry.model_copy(update={"port": port})
    return settings.model_copy(update={"events": events, "telemetry": telemetry, "instance": f"test-{port}"})


def readiness(settings: Settings) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.telemetry.port}/ready", timeout=5) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))
    except OSError:
        return {"status": "not listening"}


async def ready(settings: Settings) -> bool:
    """Ready, but for what only a scheduler (there is none here) can give: leases to run functions with."""
    answer = await asyncio.to_thread(readiness, settings)
    return answer.get("problems", {"nothing": "heard"}).keys() <= {"dispatch"}


@pytest.mark.parametrize("serve", [poller.serve, router.serve], ids=["poller", "router"])
async def test_a_service_gets_ready_and_stops_in_time(of_its_own: Settings, serve: Serve) -> None:
    async with running(lambda stop: serve(of_its_own, stop)) as task:
        await until(lambda: task.done() or ready(of_its_own))
        assert not task.done(), task.exception()
        started = time.monotonic()
    assert time.monotonic() - started < STOP_S_MAX


async def test_the_poller_runs_the_registrys_mappings(of_its_own: Settings) -> None:
    topic = await make_topic(of_its_own.kafka)
    registry = Registry(of_its_own)
    await registry.migrate()
    await registry.open()
    mapping = mapping_of(topic, function_name="nobody")

    async def row() -> EventSourceMapping | None:
        async with registry.read() as connection:
            found = await mappings.find(connection, of_its_own.home, mapping.uuid)
        return None if found is None else found.mapping

    async def is_in(state: MappingState | None) -> bool:
        found = await row()
        return found is None if state is None else found is not None and found.state is state

    async def write(state: MappingState, **changes: Any) -> None:
        async with registry.write() as connection:
            kept = await mappings.lock(connection, of_its_own.home, mapping.uuid)
            assert kept is not None
            changed = msgspec.structs.replace(kept.mapping, state=state, **changes)
            await mappings.replace(connection, msgspec.structs.replace(kept, mapping=changed))

    try:
        async with registry.write() as connection:
            await mappings.serialise(connection)
            await mappings.create(connection, MappingRow(mapping, {}))
        async with running(lambda stop: poller.serve(of_its_own, stop)):
            await until(lambda: is_in(MappingState.ENABLED))
            await write(MappingState.DISABLING, enabled=False)
            await until(lambda: is_in(MappingState.DISABLED))
            await write(MappingState.DELETING)
            await until(lambda: is_in(None))
    finally:
        await registry.close()
