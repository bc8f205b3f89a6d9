from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from services.router.ledger import backlog
from shared.registry.registry import Registry
from shared.settings.kafka import KafkaCluster
from tests.integration.ledger.world import ByName, World
from tests.integration.registry.support import new_database, settings_of


@pytest_asyncio.fixture(scope="module")
async def database_url(postgres_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with new_database(postgres_engine) as url:
        registry = Registry(settings_of(url, tmp_path_factory.mktemp("ledger")))
        await registry.migrate()
        await registry.close()
        yield url


@pytest.fixture(scope="module", autouse=True)
def looking_often() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backlog, "IDLE_LOOK_S", 0.5)
        patch.setattr(backlog, "LOOK_S", 0.3)
        yield


@pytest_asyncio.fixture(scope="module")
async def world(kafka_engine: KafkaCluster, database_url: str) -> AsyncIterator[World]:
    """With everything running: a poller for `world.functions`, and the ledger's consumer."""
    async with World.opened(kafka_engine, database_url) as world:
        world.functions = ByName()
        async with world.writing(), world.polling(world.functions):
            yield world


@pytest_asyncio.fixture(scope="module")
async def apart(kafka_engine: KafkaCluster, database_url: str) -> AsyncIterator[World]:
    """The ledger's consumer alone, on topics of its own."""
    async with World.opened(kafka_engine, database_url) as world, world.writing() as world.consumer:
        yield world
