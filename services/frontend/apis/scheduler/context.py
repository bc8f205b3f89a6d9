"""What the operations of EventBridge Scheduler share: the registry, its errors, client tokens."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ResourceNotFoundException, UserError
from shared.domain.schedules import DEFAULT_GROUP
from shared.registry import scheduler
from shared.registry.registry import Registry

Reply = dict[str, Any]
UNSAID = frozenset({"ClientToken"})
"""Members that do not say what is asked for."""


class ConflictException(UserError):
    code = "ConflictException"
    status = 409


class ServiceQuotaExceededException(UserError):
    code = "ServiceQuotaExceededException"
    status = 402


class AlreadyDone(Exception):
    """A write whose client token says that it is done: it is answered as it was."""


class SchedulerContext(msgspec.Struct, frozen=True):
    registry: Registry

    @contextlib.asynccontextmanager
    async def write(self, operation: str, call: Call, params: Params) -> AsyncIterator[AsyncConnection]:
        """One transaction. Raises AlreadyDone where the client token is known, ConflictException where it was another
        request's."""
        async with self.registry.write() as connection:
            token = params.get("ClientToken")
            if token is not None:
                digest = _digest(operation, params)
                known = await scheduler.take_token(connection, call.home, token, digest, now_ms())
                if known == digest:
                    raise AlreadyDone
                if known is not None:
                    raise ConflictException("The client token was used for another request.")
            yield connection


def group_of(params: Params) -> str:
    found: str = params.get("GroupName") or DEFAULT_GROUP
    return found


def no_group(name: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Schedule group {name} does not exist.")


def no_schedule(name: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Schedule {name} does not exist.")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _digest(operation: str, params: Params) -> str:
    said = {name: value for name, value in params.items() if name not in UNSAID}
    return hashlib.sha256(msgspec.json.encode([operation, said], order="sorted")).hexdigest()
