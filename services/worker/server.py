"""The dispatch port: listens for callers, counts what runs, and drains before the worker ends."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from prometheus_client import Gauge

from services.worker.caller_connection import CallerConnection
from services.worker.fleet import Fleet
from shared.dispatch.frames import Handshake
from shared.domain.errors import ConfigurationError
from shared.settings import Settings

log = logging.getLogger("lambdad.worker")

CANCEL_TIMEOUT_S = 3.0

CONNECTIONS = Gauge("lambdad_worker_connections", "Callers' connections")


class WorkerServer:
    """Listens on settings.worker.host:port. `running` counts the invocations under way."""

    def __init__(self, settings: Settings, fleet: Fleet) -> None:
        if not settings.cluster_secret.get_secret_value():
            raise ConfigurationError("LAMBDAD_CLUSTER_SECRET is empty: the dispatch port would run anyone's code")
        self.fleet = fleet
        self.running = 0
        self.unauthenticated = 0
        self.connections: set[CallerConnection] = set()
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()
        CONNECTIONS.set_function(lambda: len(self.connections))

    async def start(self) -> None:
        """Raises ConfigurationError when the port cannot be had."""
        worker = self._settings.worker
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: CallerConnection(self), worker.host, worker.port, backlog=512)
        except OSError as error:
            raise ConfigurationError(f"the worker cannot listen on {worker.host}:{worker.port}: {error}") from error

    @property
    def port(self) -> int:
        assert self._server is not None
        return cast("int", self._server.sockets[0].getsockname()[1])

    def handshake(self) -> Handshake:
        secret = self._settings.cluster_secret.get_secret_value().encode()
        return Handshake(secret, caller=False, role="worker", instance=self._settings.instance)

    def run_begins(self) -> None:
        self.running += 1
        if self.running == 1:
            self._quiet.clear()

    def run_ends(self) -> None:
        self.running -= 1
        if self.running == 0:
            self._quiet.set()

    async def drain(self, timeout_s: float) -> None:
        """Refuse new invocations, wait for running ones, and cancel those that are left after `timeout_s`."""
        self.fleet.draining = True
        if await self._is_quiet_within(timeout_s):
            return
        log.warning("%d invocations run on after %.0f s: cancelled", self.running, timeout_s)
        for connection in self.connections:
            connection.cancel_all()
        if not await self._is_quiet_within(CANCEL_TIMEOUT_S):
            log.error("%d invocations did not end when cancelled", self.running)

    async def _is_quiet_within(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
