from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.domain.arns import Home
from shared.domain.errors import ConfigurationError, ServiceException
from shared.domain.mappings import ErrorHandling, SourceKind
from shared.registry import code_signing, functions, layers, sns_tables
from shared.registry.events import tables as event_tables
from shared.registry.ledger_tables import Base
from shared.registry.migrate import HEAD, SCRIPTS, config_for
from shared.registry.registry import Registry
from tests.integration.registry.support import new_database, settings_of


async def test_several_services_may_migrate_an_empty_database_at_once_and_again(postgres_engine: str, tmp_path: Path) -> None:
    async with new_database(postgres_engine) as url:
        registries = [Registry(settings_of(url, tmp_path)) for _ in range(4)]
        await asyncio.gather(*(registry.migrate() for registry in registries))
        await registries[0].migrate()
        for registry in registries:
            await registry.open()
            await registry.close()


async def test_the_migrations_make_exactly_the_tables_of_the_code(registry: Registry) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata))

    assert event_tables.BusTable.metadata is Base.metadata
    assert sns_tables.TopicTable.metadata is Base.metadata
    async with registry.write() as connection:
        assert await connection.run_sync(differences) == []


def test_the_newest_migration_is_the_one_that_the_program_asks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


OLD_MAPPING = """
INSERT INTO event_source_mappings VALUES (
    'a', 'f', NULL, 'arn', NULL, '["b:9092"]', '["t"]', 'g', 'LATEST', NULL, 100, 0.5, '[]', NULL, true, 'Enabled',
    'USER_INITIATED', 'OK', 1, 1,
    '{"retry_attempts_max": 3, "bisect_on_error": true, "function_response_types": ["ReportBatchItemFailures"]}', '{}'
)
"""


async def test_what_owners_of_mappings_had_set_is_taken_along(postgres_engine: str, tmp_path: Path) -> None:
    async with new_database(postgres_engine) as url:
        settings = settings_of(url, tmp_path)
        engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
        async with engine.begin() as connection:
            await connection.run_sync(lambda inner: command.upgrade(config_for(inner, "eu-west-1"), "0007"))
            await connection.execute(text(OLD_MAPPING))
        await engine.dispose()
        registry = Registry(settings)
        await registry.migrate()
        await registry.open()
        [mapping] = await registry.mappings.list_all()
        await registry.close()
    assert mapping.kind is SourceKind.SELF_MANAGED_KAFKA
    assert mapping.error_handling == ErrorHandling(3, -1, True, True)


OLD_ROWS = (
    """INSERT INTO functions (id, name, revision, tags, created_ms) VALUES ('1', 'f', 1, '{}', 1)""",
    """INSERT INTO layers VALUES ('l', 3)""",
    """INSERT INTO layer_versions (layer_name, number, code_sha256, code_bytes, unzipped_bytes, description, created_ms)
       VALUES ('l', 3, 'aa', 1, 1, '', 1)""",
    """INSERT INTO code_signing_configs VALUES ('csc-1', '', '[]', 'Warn', '{}', 1)""",
)


async def test_what_was_there_before_regions_is_in_the_region_of_the_settings(postgres_engine: str, tmp_path: Path) -> None:
    async with new_database(postgres_engine) as url:
        settings = settings_of(url, tmp_path).model_copy(update={"region": "eu-west-1"})
        home, elsewhere = settings.home, Home(settings.account_id, "us-east-1")
        engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
        async with engine.begin() as connection:
            await connection.run_sync(lambda inner: command.upgrade(config_for(inner, "eu-west-1"), "0009"))
            for statement in OLD_ROWS:
                await connection.execute(text(statement))
        registry = Registry(settings)
        await registry.migrate()
        async with registry.read() as connection:
            assert await functions.exists(connection, home, "f")
            assert not await functions.exists(connection, elsewhere, "f")
            assert await layers.find(connection, home, "l", 3) is not None
            assert await layers.find(connection, elsewhere, "l", 3) is None
            assert len(await code_signing.page(connection, home, "", 9)) == 1
            assert await code_signing.page(connection, elsewhere, "", 9) == []
        await registry.close()
        async with engine.begin() as connection:
            # As every migration: one that goes wrong for its operator can be taken back.
            await connection.run_sync(lambda inner: command.downgrade(config_for(inner, "eu-west-1"), "0009"))
            assert (await connection.execute(text("SELECT name FROM functions"))).scalar_one() == "f"
        await engine.dispose()


async def test_a_database_that_cannot_be_reached_is_said_so(tmp_path: Path, unused_tcp_port: int) -> None:
    registry = Registry(settings_of(f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/nothing", tmp_path))
    with pytest.raises(ConfigurationError, match="cannot be used"):
        await registry.migrate()
    with pytest.raises(ServiceException):
        await registry.open()
    await registry.close()
