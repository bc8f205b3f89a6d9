"""The health port of a service: /health (the process answers), /ready (every check passes), /metrics (Prometheus)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any

import msgspec
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.settings import TelemetrySettings
from shared.telemetry import supervision

log = logging.getLogger("lambdad.health")

Check = Callable[[], str | None]
"""Answers None when all is well, else what is wrong."""

Detail = Callable[[], object]
"""Answers something worth showing beside the checks, as JSON can have it."""

Send = Callable[[dict[str, Any]], Awaitable[None]]
STOP_TIMEOUT_S = 2.0


class Health:
    """The three answers, usable from any ASGI application. Background tasks that fail are in each of them: an essential one
    makes the service not ready, the others are only told."""

    def __init__(self, service: str, checks: Mapping[str, Check], details: Mapping[str, Detail] = MappingProxyType({})) -> None:
        self.service = service
        self._checks = dict(checks)
        self._details = dict(details)

    def problems(self) -> dict[str, str]:
        found = {}
        for name, check in self._checks.items():
            try:
                problem = check()
            except Exception as error:
                log.exception("the check %s of %s failed", name, self.service)
                problem = f"the check failed: {error}"
            if problem is not None:
                found[name] = problem
        return found | supervision.failing(essential=True)

    def answer(self, path: str) -> tuple[int, bytes, bytes] | None:
        """(status, content type, body) of a health path, None for any other."""
        if path == "/health":
            alive = {"service": self.service, "status": "alive", "failing_tasks": supervision.failing()}
            return 200, b"application/json", msgspec.json.encode(alive)
        if path == "/ready":
            problems = self.problems()
            body = {
                "service": self.service,
                "status": "ready" if not problems else "not ready",
                "problems": problems,
                "failing_tasks": supervision.failing(),
                **{name: detail() for name, detail in self._details.items()},
            }
            return (503 if problems else 200), b"application/json", msgspec.json.encode(body)
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST.encode(), generate_latest()
        return None

    async def __call__(self, scope: dict[str, Any], receive: object, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, content_type, body = self.answer(scope["path"]) or (404, b"text/plain", b"not found\n")
        headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class HealthServer:
    """Serves `Health` on a port of its own while the context is open."""

    def __init__(
        self,
        settings: TelemetrySettings,
        *,
        service: str,
        checks: Mapping[str, Check],
        details: Mapping[str, Detail] = MappingProxyType({}),
    ) -> None:
        self.health = Health(service, checks, details)
        config = uvicorn.Config(
            self.health,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            limit_concurrency=64,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> HealthServer:
        self._task = asyncio.create_task(self._server.serve(), name="health-server")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.should_exit = True
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._task


class _QuietServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the service owns them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield
