"""What provisioned concurrency is wanted, as the registry has it: on which versions, how much of it on each."""

from __future__ import annotations

from typing import Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.functions import InvokeTarget
from shared.domain.provisioned import ProvisionedConcurrency, split
from shared.registry import provisioned, targets
from shared.registry.database import Database
from shared.settings import Settings

ACTIVE = "Active"


class Share(msgspec.Struct, frozen=True):
    """So many environments of one version."""

    target: InvokeTarget
    count: int

    @property
    def owner(self) -> str:
        return owner_of(self.target)


class Plan(msgspec.Struct, frozen=True):
    """One configuration. shares: of its version or, for a weighted alias, of two. version: that its alias points to first.
    held_owner: the version that it stood on before its alias moved, whose environments stay until the new ones are there."""

    configuration: ProvisionedConcurrency
    shares: tuple[Share, ...]
    version: int
    held_owner: str | None = None


class Plans(Protocol):
    """Where plans come from, and where it is noted how far they are."""

    async def load(self) -> list[Plan]:
        """Raises ServiceException."""

    async def report(self, configuration: ProvisionedConcurrency) -> bool:
        """False when another request has taken its place. Raises ServiceException."""

    async def close(self) -> None: ...


def owner_of(target: InvokeTarget) -> str:
    """As environments are listed in Redis."""
    return f"{target.spec.counted_as}\n{target.spec.version_key}"


class RegistryPlans:
    """In Postgres. Published versions do not change, so each is read once while something stands on it."""

    def __init__(self, settings: Settings) -> None:
        self._account_id = settings.account_id
        self._database = Database(settings)
        self._targets: dict[tuple[str, int], InvokeTarget] = {}

    async def load(self) -> list[Plan]:
        before, self._targets = self._targets, {}
        async with self._database.read() as connection:
            return [await self._plan(connection, placed, before) for placed in await provisioned.every(connection)]

    async def _plan(
        self, connection: AsyncConnection, placed: provisioned.Placed, before: dict[tuple[str, int], InvokeTarget]
    ) -> Plan:
        configuration = placed.configuration
        first, additional = split(configuration.requested, placed.additional_weight)
        shares = []
        for number, count in ((placed.version, first), (placed.additional_version, additional)):
            target = None if number is None else await self._target(connection, placed, number, before)
            if target is not None and count > 0:
                shares.append(Share(target, count))
        held = None
        if configuration.held_version not in (None, placed.version):
            held = await self._target(connection, placed, int(configuration.held_version or 0), before)
        return Plan(configuration, tuple(shares), placed.version, None if held is None else owner_of(held))

    async def _target(
        self,
        connection: AsyncConnection,
        placed: provisioned.Placed,
        number: int,
        before: dict[tuple[str, int], InvokeTarget],
    ) -> InvokeTarget | None:
        """None for a version that does not exist (any more) or cannot be started yet."""
        key = (placed.configuration.function_id, number)
        target = self._targets.get(key) or before.get(key)
        if target is None:
            found = await targets.load(connection, Home(self._account_id, placed.region), placed.function_name, str(number))
            if not found:
                return None
            target = targets.target_of(found[0], None, account_id=self._account_id)
        if target.state != ACTIVE or target.spec.function_id != key[0]:
            return None
        self._targets[key] = target
        return target

    async def report(self, configuration: ProvisionedConcurrency) -> bool:
        async with self._database.write() as connection:
            return await provisioned.report(connection, configuration)

    async def close(self) -> None:
        await self._database.close()
