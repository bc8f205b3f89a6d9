from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.registry.registry import Registry
from shared.settings.kafka import KafkaCluster
from tests.integration.ledger.world import World
from tests.integration.registry.support import new_database, settings_of


@pytest_asyncio.fixture(scope="module")
async def database_url(postgres_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with new_database(postgres_engine) as url:
        registry = Registry(settings_of(url, tmp_path_factory.mktemp("ledger")))
        await registry.migrate()
        await registry.close()
        yield url


@pytest_asyncio.fixture
async def world(kafka_engine: KafkaCluster, database_url: str) -> AsyncIterator[World]:
    async with World.opened(kafka_engine, database_url) as world:
        yield world
