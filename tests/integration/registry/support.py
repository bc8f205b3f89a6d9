"""A registry in a database of its own, and handlers as a client would reach them, without HTTP."""

from __future__ import annotations

import contextlib
import copy
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import asyncpg
from sqlalchemy.engine import make_url

from services.frontend.apis.lambda_.context import ControlContext
from services.frontend.apis.lambda_.operations import OPERATIONS
from services.frontend.edge.homes import Homes
from shared.dispatch.cell.deployment import Deployment
from shared.dispatch.cell.retirement import Retirement
from shared.domain.arns import Home, function_arn
from shared.registry.cache import TargetCache
from shared.registry.records import FunctionVersion
from shared.registry.registry import Registry
from shared.registry.tables import Base
from shared.settings import Settings
from tests.support import ROLE, zip_of

ZIP = zip_of({"index.py": "def handler(event, context):\n    return event\n"})
OTHER_ZIP = zip_of({"index.py": "def handler(event, context):\n    return 'other'\n"})


@contextlib.asynccontextmanager
async def new_database(url: str) -> AsyncIterator[str]:
    """An empty database beside the one that `url` names; its address."""
    name = f"test_{uuid.uuid4().hex}"
    parsed = make_url(url)
    admin = await asyncpg.connect(parsed.set(drivername="postgresql").render_as_string(False), timeout=10)
    try:
        await admin.execute(f"CREATE DATABASE {name}", timeout=30)
        yield parsed.set(drivername="postgresql", database=name).render_as_string(False)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)", timeout=30)
    finally:
        await admin.close(timeout=10)


async def emptied(registry: Registry) -> None:
    """Takes everything out of its tables: of few rows, in a fraction of the time that a new database takes."""
    async with registry.write() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            await connection.execute(table.delete())


def settings_of(database_url: str, data_dir: Path, **sections: Any) -> Settings:
    values = {"database_url": database_url, "data_dir": data_dir, "cluster_secret": "secret", **sections}
    return Settings.model_validate(values)


class RecordingAnnouncer:
    """What the control plane announced, in order."""

    def __init__(self) -> None:
        self.functions: list[tuple[str, int, int | None]] = []
        self.unreserved: list[dict[str, int]] = []
        self.urls: list[str] = []
        self.retirements: list[Retirement] = []
        self.deployments: list[Deployment] = []

    async def function_changed(self, function: str, revision: int, reserved_concurrency: int | None) -> None:
        self.functions.append((function, revision, reserved_concurrency))

    async def retired(self, retirement: Retirement) -> None:
        self.retirements.append(retirement)

    async def deployed(self, deployment: Deployment) -> None:
        self.deployments.append(deployment)

    async def urls_changed(self, function_id: str) -> None:
        self.urls.append(function_id)

    async def account_changed(self, unreserved_limits: Mapping[str, int]) -> None:
        self.unreserved.append(dict(unreserved_limits))


class HeldContext(ControlContext):
    """A context that settles versions when the test says so, and never behind its back while `held`."""

    held = False
    left: list[FunctionVersion]

    def settle_later(self, *changed: FunctionVersion) -> None:
        if self.held:
            self.left = list(changed)
        else:
            super().settle_later(*changed)


class Control:
    """Calls operations by name, in the region of the settings, and lets what they change settle, unless told to hold it."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.settings = settings
        self.registry = registry
        self.announcer = RecordingAnnouncer()
        self.targets = TargetCache(registry, settings)
        self.context = HeldContext(settings, Homes.of(settings), registry, self.announcer, self.targets)

    def at(self, region: str) -> Control:
        """The same in another region."""
        found = copy.copy(self)
        found.context = cast("HeldContext", self.context.at(Home(self.settings.account_id, region)))
        return found

    async def __call__(self, operation: str, **request: Any) -> dict[str, Any]:
        reply = await OPERATIONS[operation](self.context, request)
        await self.context.settled(deadline_s=10)
        return reply

    def arn(self, name: str) -> str:
        return function_arn(self.context.home, name)

    async def create(self, name: str | None = None, **request: Any) -> str:
        """A function and its name."""
        name = name or f"f-{uuid.uuid4().hex[:12]}"
        await self("CreateFunction", **{**function_request(name), **request})
        return name


@contextlib.asynccontextmanager
async def control_of(settings: Settings) -> AsyncIterator[Control]:
    """With a registry of its own."""
    registry = Registry(settings)
    await registry.migrate()
    control = Control(settings, registry)
    yield control
    await control.context.close()
    await registry.close()


def function_request(name: str) -> dict[str, Any]:
    return {
        "FunctionName": name,
        "Runtime": "python3.12",
        "Handler": "index.handler",
        "Role": ROLE,
        "Code": {"ZipFile": ZIP},
    }
