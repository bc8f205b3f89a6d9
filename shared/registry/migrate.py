"""Brings the database to the newest schema. Several services may start at once: one migrates, the others wait for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy import Connection, inspect
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0015"
"""The newest migration: what this program's tables are."""
LOCK_KEY = 0x6C616D62
"""Advisory lock that the one who migrates holds."""
DEADLINE_S = 120.0
SCRIPTS = Path(__file__).with_name("migrations")


async def migrate(url: URL, region: str) -> None:
    """region: of what a database without regions has. Idempotent.

    Raises ConfigurationError when the database cannot be reached or its schema is newer than this program.
    """
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 10.0})
    try:
        async with asyncio.timeout(DEADLINE_S), engine.begin() as connection:
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK_KEY})")
            await connection.run_sync(_upgrade, region)
    except TimeoutError as error:
        raise ConfigurationError(f"The database did not finish its migration in {DEADLINE_S:.0f} s") from error
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.InvalidCatalogNameError) as error:
        raise ConfigurationError(f"The database at {url.host}:{url.port} cannot be used: {error}") from error
    finally:
        await engine.dispose()


def config_for(connection: Connection, region: str) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    config.attributes["region"] = region
    return config


def _upgrade(connection: Connection, region: str) -> None:
    # Alembic costs half a second and ten megabytes: it is loaded only where there is something to migrate.
    known = inspect(connection).has_table("alembic_version")
    if known and connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == HEAD:
        return
    from alembic import command

    command.upgrade(config_for(connection, region), "head")
