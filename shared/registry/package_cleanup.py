"""Removes packages that no version of a function and no layer refers to any more.

What is found without a reference is noted with the time, and removed when it still has none after the grace period: whoever is
about to use a package announces it first (`stored_packages.keep`), which ends the waiting. A package and its row go together
under the lock on the row, so that who announces it in that moment waits, and then stores it anew.
"""

from __future__ import annotations

import asyncio
import logging

from prometheus_client import Counter

from shared.domain.errors import ApiError
from shared.registry import stored_packages
from shared.registry.database import Database
from shared.registry.functions import now_ms
from shared.registry.packages import PackageError, PackageStore
from shared.settings import RegistrySettings

BATCH = 100
REMOVALS_MAX = 10_000
"""Packages removed in one round; what is left waits for the next."""
REMOVE_TIMEOUT_S = 5.0
"""Under the lock: a request for the same package waits this long at most."""
REMOVED = Counter("lambdad_packages_removed_total", "Code packages removed because nothing referred to them")
log = logging.getLogger("lambdad.registry")


class PackageCleaner:
    """Safe in several processes at once; only one of them works at a time."""

    def __init__(self, database: Database, packages: PackageStore, settings: RegistrySettings) -> None:
        self._database = database
        self._packages = packages
        self._grace_ms = int(settings.package_grace_s * 1_000)
        self._interval_s = settings.package_cleanup_interval_s

    async def run(self) -> None:
        """Cleans up for ever, once in each interval."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                removed = await self.clean()
                if removed:
                    log.info("removed %d code packages that nothing referred to", removed)
            except (ApiError, PackageError) as error:
                log.warning("code packages were not cleaned up: %s", error)

    async def clean(self) -> int:
        """One round; the number of packages removed, 0 when another process is at it. Raises ServiceException, PackageError."""
        async with self._database.write() as connection:
            if not await stored_packages.clean_alone(connection):
                return 0
            await stored_packages.mark_unused(connection, now_ms())
        before_ms = now_ms() - self._grace_ms
        total = 0
        while total < REMOVALS_MAX:
            async with self._database.read() as connection:
                batch = await stored_packages.overdue(connection, before_ms, BATCH)
            removed = [await self._remove(sha256, before_ms) for sha256 in batch]
            total += sum(removed)
            if len(batch) < BATCH or not any(removed):
                break
        return total

    async def _remove(self, sha256: str, before_ms: int) -> bool:
        async with self._database.write() as connection:
            if not await stored_packages.clean_alone(connection):
                return False
            if not await stored_packages.forget(connection, sha256, before_ms):
                return False
            # Before the commit: a package without its row would stay for ever, a row without its package is found again.
            await self._packages.remove(sha256, deadline_s=REMOVE_TIMEOUT_S)
        REMOVED.inc()
        return True
