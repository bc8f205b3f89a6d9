from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.registry.registry import Registry
from tests.integration.registry.support import new_database, settings_of


@pytest_asyncio.fixture(scope="package")
async def registry_url(postgres_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A registry for all tests of events: each speaks of names of its own alone."""
    async with new_database(postgres_engine) as url:
        registry = Registry(settings_of(url, tmp_path_factory.mktemp("events")))
        await registry.migrate()
        await registry.close()
        yield url
