"""What every handler is given, and how versions leave Pending after a handler has answered."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from services.frontend.edge.homes import Homes
from shared.dispatch.cell.deployment import Deployment
from shared.dispatch.cell.retirement import Retirement
from shared.dispatch.cell.worker_record import Capabilities
from shared.domain.arns import Home, function_arn
from shared.domain.errors import ApiError
from shared.domain.functions import Layer, counted_as
from shared.registry import concurrency
from shared.registry.cache import TargetCache
from shared.registry.code_sources import CodeSource
from shared.registry.packages import PackageError, PackageStore
from shared.registry.records import FunctionVersion
from shared.registry.registry import Registry
from shared.registry.url_cache import UrlCache
from shared.settings import Settings
from shared.telemetry.supervision import supervise

SETTLING_MAX = 1_000
"""Versions being settled at once; beyond that they are left to whoever reads them next."""
ACCOUNT_ANNOUNCED_EVERY_S = 10.0
log = logging.getLogger("lambdad.frontend")

Request = Mapping[str, Any]
"""Parameters by the service model's member names, types and ranges already checked against the model."""
Reply = dict[str, Any]
"""Members by the service model's names; None and unknown ones are left out on the wire. StatusCode overrides the status."""


class Announcer(Protocol):
    """`shared.dispatch.cell.announce.Announcer`: makes the next lease of a function, anywhere, notice a change."""

    async def function_changed(self, function: str, revision: int, reserved_concurrency: int | None) -> None: ...

    async def retired(self, retirement: Retirement) -> None: ...

    async def deployed(self, deployment: Deployment) -> None: ...

    async def account_changed(self, unreserved_limits: Mapping[str, int]) -> None: ...

    async def urls_changed(self, function_id: str) -> None: ...


class Workers(Protocol):
    """`shared.dispatch.cell.directory.WorkerDirectory`."""

    async def capabilities(self) -> Sequence[Capabilities]:
        """Of the workers that say what they can run; none while nothing is known."""


class ControlContext:
    """The parts that handlers work with. targets, urls: this frontend's own caches, told of every change at once.
    workers: what they can run; without it every runtime is taken. home: where the request is; what is named without one is
    there. `at` is the same context for another.
    """

    def __init__(
        self,
        settings: Settings,
        homes: Homes,
        registry: Registry,
        announcer: Announcer,
        targets: TargetCache | None = None,
        urls: UrlCache | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.settings = settings
        self.home = homes.default
        self._homes = homes
        self.registry = registry
        self.announcer = announcer
        self.targets = targets
        self.urls = urls
        self.workers = workers
        self.code_source = CodeSource(settings)
        self._settling: set[asyncio.Task[None]] = set()
        self._repeating: list[asyncio.Task[None]] = []

    def at(self, home: Home) -> ControlContext:
        found = copy.copy(self)
        found.home = home
        return found

    @property
    def packages(self) -> PackageStore:
        return self.registry.packages

    async def start(self) -> None:
        """Settles what a killed process left Pending or InProgress; from now on announces the account's limit and cleans up.

        Raises ServiceException.
        """
        await self.registry.settler.settle_all()
        if not self._repeating:
            self._repeating = [
                supervise("account-limit", self._repeat_account),
                supervise("package-cleanup", self.registry.cleaner.run),
            ]

    async def close(self) -> None:
        """Lets the versions that are being settled finish."""
        for task in self._repeating:
            task.cancel()
        await self.settled(deadline_s=5.0)

    async def announce(
        self,
        name: str,
        function_id: str,
        revision: int,
        reserved_concurrency: int | None,
        retired: Retirement | None = None,
    ) -> None:
        """After a commit and before the answer: an invocation that follows the answer sees the change. retired: what nobody
        can invoke any more."""
        if self.targets is not None:
            self.targets.forget(function_arn(self.home, name))
        await self.url_changed(function_id)
        await self.announcer.function_changed(counted_as(self.home.region, function_id), revision, reserved_concurrency)
        if retired is not None:
            await self.announcer.retired(retired)

    async def url_changed(self, function_id: str) -> None:
        """After a commit that changed who may reach a function by its URLs, or how; their invocations stay the same."""
        if self.urls is not None:
            self.urls.forget(function_id)
        await self.announcer.urls_changed(function_id)

    async def announce_account(self) -> None:
        """What functions without a reservation share in each region. Read and announced under the lock that writers of
        reservations hold: an older figure cannot come after a newer one."""
        async with self.registry.write() as connection:
            await concurrency.lock_account(connection)
            reserved = await concurrency.reserved_by_region(connection)
            limit = self.settings.dispatch.account_concurrency
            regions = (home.region for home in self._homes.all)
            await self.announcer.account_changed({region: limit - reserved.get(region, 0) for region in regions})

    async def _repeat_account(self) -> None:
        """A Redis that lost its data learns the limit again."""
        while True:
            try:
                await self.announce_account()
            except ApiError as error:
                log.warning("the account's limit was not announced: %s", error)
            await asyncio.sleep(ACCOUNT_ANNOUNCED_EVERY_S)

    def settle_later(self, *changed: FunctionVersion) -> None:
        """Takes versions out of Pending or InProgress without keeping the client waiting for it."""
        for found in changed:
            if len(self._settling) >= SETTLING_MAX:
                return
            task = asyncio.create_task(self._settle(found))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    async def settled(self, *, deadline_s: float) -> None:
        """Waits until nothing is being settled by this process, at most so long."""
        if self._settling:
            await asyncio.wait(set(self._settling), timeout=deadline_s)

    async def _settle(self, found: FunctionVersion) -> None:
        try:
            if await self.registry.settler.settle(found):
                await self._say_deployed(found)
        except (ApiError, PackageError) as error:
            log.warning("%s:%s is left to its next reader: %s", found.function.name, found.version.label, error)

    async def _say_deployed(self, found: FunctionVersion) -> None:
        """What comes next is likely to be its first invocation."""
        workers = () if self.workers is None else await self.workers.capabilities()
        version, configuration = found.version, found.version.configuration
        await self.announcer.deployed(
            Deployment(
                runtime=configuration.runtime,
                architecture=configuration.architecture,
                memory_mb=configuration.memory_mb,
                code_sha256=version.code_sha256,
                code_size_bytes=version.code_bytes,
                layers=tuple(Layer(one.arn, one.sha256, one.size_bytes) for one in configuration.layers),
                workers=len(workers),
            )
        )


Handler = Callable[[ControlContext, Request], Awaitable[Reply]]
