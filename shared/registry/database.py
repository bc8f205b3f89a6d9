"""Connections to Postgres: a bounded pool, a deadline on everything, and one place where its failures become ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.domain.errors import ConfigurationError, ServiceException
from shared.settings import Settings

UNREACHABLE = "The registry could not be reached. Try again."


class Database:
    """The pool. `read` gives a connection on which every statement is its own transaction, `write` one transaction.

    Both raise ServiceException when Postgres cannot be reached or does not answer in settings.registry.query_timeout_s, which
    also bounds the whole block; a write may then have been committed or not.
    """

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.registry.query_timeout_s
        self.url = asyncpg_url(settings.database_url)
        self._engine = create_async_engine(
            self.url,
            pool_size=settings.registry.pool_size,
            max_overflow=0,
            pool_timeout=self._timeout_s,
            pool_reset_on_return="rollback",
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
            json_deserializer=msgspec.json.decode,
            connect_args={
                "timeout": self._timeout_s,
                "command_timeout": self._timeout_s,
                "prepared_statement_cache_size": 500,
                "server_settings": {
                    "application_name": "lambdad",
                    "jit": "off",
                    "statement_timeout": str(int(self._timeout_s * 1000)),
                    "idle_in_transaction_session_timeout": str(int(self._timeout_s * 1000)),
                },
            },
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)
        self._readers: AsyncEngine = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(self._timeout_s), self._readers.connect() as connection:
                yield connection
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError, OSError, TimeoutError) as error:
            raise ServiceException(UNREACHABLE) from error
        except exc.DBAPIError as error:
            _translate(error)

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(self._timeout_s), self._engine.begin() as connection:
                yield connection
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError, OSError, TimeoutError) as error:
            raise ServiceException(UNREACHABLE) from error
        except exc.DBAPIError as error:
            _translate(error)

    async def close(self) -> None:
        await self._engine.dispose()


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """A connection that ended while it was idle is known to be closed without asking the server: take another."""
    if connection.driver_connection.is_closed():
        raise exc.DisconnectionError


def _translate(error: exc.DBAPIError) -> None:
    """What asyncpg does not sort under the two classes above; a broken constraint stays what it is."""
    if error.connection_invalidated or getattr(error.orig, "sqlstate", "")[:2] in {"08", "53", "57"}:
        raise ServiceException(UNREACHABLE) from error
    raise error


def asyncpg_url(text: str) -> URL:
    """Any `postgresql://` address for SQLAlchemy's asyncpg dialect. Raises ConfigurationError."""
    try:
        url = make_url(text)
    except exc.ArgumentError as error:
        raise ConfigurationError(f"DATABASE_URL is not an address of a database: {error}") from error
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ConfigurationError("DATABASE_URL must begin with postgresql://: the registry is kept in Postgres")
    return url.set(drivername="postgresql+asyncpg")
