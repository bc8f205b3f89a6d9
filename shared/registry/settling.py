"""Takes versions out of Pending and InProgress once their package was seen to be stored whole.

Whoever made the change settles it a moment later. Should it die in between, whoever reads the version next, or starts next,
does it in its place.
"""

from __future__ import annotations

import asyncio
import logging

from shared.registry import versions
from shared.registry.database import Database
from shared.registry.functions import now_ms
from shared.registry.packages import PackageError, PackageStore
from shared.registry.records import FunctionVersion

GRACE_MS = 1_000
"""How long the maker of a change is left to settle it before a reader does it in its place."""
AT_ONCE_MAX = 8
PAGE = 500
log = logging.getLogger("lambdad.registry")


class Settler:
    """Idempotent and safe from several processes at once: the first one to write wins, the others write nothing."""

    def __init__(self, database: Database, packages: PackageStore) -> None:
        self._database = database
        self._packages = packages

    async def settle(self, found: FunctionVersion) -> bool:
        """Looks at the version's package and records what it saw; False when the version has changed meanwhile.

        Raises PackageError when the store could not be asked (the version stays as it is), ServiceException like every write.
        """
        version = found.version
        if version.status.settled:
            return False
        failure = await self._problem("code package", version.code_sha256, version.code_bytes)
        for layer in version.configuration.layers:
            failure = failure or await self._problem(f"package of layer {layer.arn}", layer.sha256, layer.size_bytes)
        if failure:
            log.error("%s:%s cannot become active: %s", found.function.name, version.label, failure)
        # One statement, committed by itself: two round trips less until a function is active.
        async with self._database.read() as connection:
            return await versions.settle(connection, version, failure) is not None

    async def _problem(self, what: str, sha256: str, expected_bytes: int) -> str:
        """What is wrong with a package in the store, "" for nothing. Raises PackageError."""
        size = await self._packages.size(sha256)
        if size is None:
            return f"The {what} is missing from the package store."
        if size != expected_bytes:
            return f"The {what} has {size} bytes in the package store instead of {expected_bytes}."
        return ""

    async def settle_stale(self, found: FunctionVersion) -> bool:
        """Settles a version whose maker seems to be gone; True when the caller should read it again."""
        if found.version.status.settled or now_ms() - found.version.modified_ms < GRACE_MS:
            return False
        try:
            await self.settle(found)
        except PackageError as error:
            log.warning("%s stays unsettled: %s", found.function.name, error)
            return False
        return True

    async def settle_all(self, *, older_than_ms: int = GRACE_MS) -> int:
        """At start: everything that a killed process left behind. The number of versions settled."""
        total = 0
        while True:
            async with self._database.read() as connection:
                left = await versions.unsettled(connection, older_than_ms=older_than_ms, limit=PAGE)
            gate = asyncio.Semaphore(AT_ONCE_MAX)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._settle_quietly(found, gate)) for found in left]
            settled = sum(task.result() for task in tasks)
            total += settled
            if len(left) < PAGE or not settled:
                return total

    async def _settle_quietly(self, found: FunctionVersion, gate: asyncio.Semaphore) -> bool:
        async with gate:
            try:
                return await self.settle(found)
            except PackageError as error:
                log.warning("%s stays unsettled: %s", found.function.name, error)
                return False
