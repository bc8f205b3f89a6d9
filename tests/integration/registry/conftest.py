from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.registry.registry import Registry
from shared.settings import Settings
from tests.integration.registry.support import Control, new_database, settings_of


@pytest_asyncio.fixture(scope="module")
async def registry_settings(postgres_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with new_database(postgres_engine) as url:
        yield settings_of(url, tmp_path_factory.mktemp("registry"))


@pytest_asyncio.fixture(scope="module")
async def registry(registry_settings: Settings) -> AsyncIterator[Registry]:
    registry = Registry(registry_settings)
    await registry.migrate()
    await registry.open()
    yield registry
    await registry.close()


@pytest_asyncio.fixture
async def control(registry_settings: Settings, registry: Registry) -> AsyncIterator[Control]:
    control = Control(registry_settings, registry)
    yield control
    await control.context.close()
