"""The door to the registry."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.registry.database import Database
from shared.registry.mappings import Mappings
from shared.registry.migrate import migrate
from shared.registry.package_cleanup import PackageCleaner
from shared.registry.packages import PackageStore
from shared.registry.settling import Settler
from shared.settings import Settings


class Registry:
    """The door to the registry. `open` before use, `close` after; `migrate` once at every service's start.

    Queries on functions, versions, aliases, concurrency and event-invoke configurations are functions of their modules that
    take a connection from `read` or `write`, so that a handler decides what belongs to one transaction.
    """

    def __init__(self, settings: Settings) -> None:
        self._database = Database(settings)
        self._region = settings.region
        self.packages = PackageStore(settings)
        self.settler = Settler(self._database, self.packages)
        self.cleaner = PackageCleaner(self._database, self.packages, settings.registry)
        self.mappings = Mappings(self._database)

    async def open(self) -> None:
        """Connects once, so that an unreachable database shows at start. Raises ServiceException."""
        async with self._database.read() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def close(self) -> None:
        await self._database.close()

    async def migrate(self) -> None:
        """Brings the schema up to date; safe from several processes at once. Raises ConfigurationError."""
        await migrate(self._database.url, self._region)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection whose statements each are a transaction of their own."""
        return self._database.read()

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """One transaction, committed when the block ends well."""
        return self._database.write()
