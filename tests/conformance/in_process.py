"""The control plane's application without sockets: real Postgres and Redis behind it, requests handed to it as ASGI."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from redis.asyncio import Redis

from services.frontend.apis.lambda_.context import ControlContext
from services.frontend.apis.lambda_.operations import lambda_api
from services.frontend.edge.bodies import BodyReader
from services.frontend.edge.homes import Homes
from services.frontend.edge.identity import Callers
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import RequestReader
from services.frontend.endpoint.service_app import ServiceApp
from shared.dispatch.cell.announce import Announcer
from shared.registry.cache import TargetCache
from shared.registry.registry import Registry
from shared.settings import Settings
from tests.conformance.made_up import WireRequest

ANSWER_S = 10.0
"""Longer than any request takes: what takes longer hangs."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class InProcess:
    def __init__(self, app: Any) -> None:
        self._app = app

    async def send(self, request: WireRequest) -> Answer:
        """Raises TimeoutError when there is no answer in time."""
        pairs = {"host": "localhost:9000", "content-length": str(len(request.body)), **request.headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http",
            "method": request.method,
            "path": unquote(request.path),
            "raw_path": request.path.encode("ascii"),
            "root_path": "",
            "query_string": request.query.encode("ascii"),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 9000),
            "state": {},
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async with asyncio.timeout(ANSWER_S):
            await self._app(scope, receive, send)
        headers = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))


@contextlib.asynccontextmanager
async def control_plane(database_url: str, redis_url: str, data_dir: Path) -> AsyncIterator[InProcess]:
    settings = Settings.model_validate(
        {
            "database_url": database_url,
            "redis_url": redis_url,
            "data_dir": data_dir,
            "cluster_secret": "secret",
            "dispatch": {"cell": "never-500"},
        }
    )
    registry = Registry(settings)
    await registry.migrate()
    await registry.open()
    redis = Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5)
    homes = Homes.of(settings)
    context = ControlContext(settings, homes, registry, Announcer(redis, settings.dispatch), TargetCache(registry, settings))
    reader = RequestReader(None, BodyReader(), Callers(settings.account_id), homes)
    lambda_alone = ServiceApp(lambda_api(context), reader, RequestIds(), regions=homes.regions)
    try:
        yield InProcess(lambda_alone)
    finally:
        await context.close()
        await redis.aclose()
        await registry.close()
