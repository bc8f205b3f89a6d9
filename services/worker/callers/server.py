"""The dispatch port: listens for callers, counts what runs, and drains before the worker ends."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from typing import cast

from prometheus_client import Gauge

from services.worker.callers.connection import CallerConnection
from services.worker.fleet import Fleet
from shared.dispatch.wire.addresses import on_host, unix_path
from shared.dispatch.wire.frames import HANDSHAKE_TIMEOUT_S, Handshake
from shared.dispatch.wire.tls import for_worker
from shared.domain.errors import ConfigurationError
from shared.settings import Settings, WorkerSettings

log = logging.getLogger("lambdad.worker")

CANCEL_TIMEOUT_S = 3.0
BACKLOG = 512
LOCAL = "local"

CONNECTIONS = Gauge("lambdad_worker_connections", "Callers' connections")


class WorkerServer:
    """Listens on settings.worker.host:port, or on a Unix socket where the host is `local`. `running` counts the invocations
    under way. address: what callers dial, once started."""

    def __init__(self, settings: Settings, fleet: Fleet) -> None:
        if not settings.cluster_secret.get_secret_value():
            raise ConfigurationError("LAMBDAD_CLUSTER_SECRET is empty: the dispatch port would run anyone's code")
        self.fleet = fleet
        self.running = 0
        self.address = ""
        self.unauthenticated = 0
        self.connections: set[CallerConnection] = set()
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()
        CONNECTIONS.set_function(lambda: len(self.connections))

    async def start(self) -> None:
        """Raises ConfigurationError when the port cannot be had, or its certificates."""
        worker = self._settings.worker
        loop = asyncio.get_running_loop()
        try:
            if worker.host == LOCAL:
                self.address = on_host(f"lambdad-{os.getpid()}-{secrets.token_hex(8)}")
                path = unix_path(self.address)
                self._server = await loop.create_unix_server(lambda: CallerConnection(self), path, backlog=BACKLOG)
            else:
                tls = for_worker(self._settings.dispatch)
                self._server = await loop.create_server(
                    lambda: CallerConnection(self),
                    worker.host,
                    worker.port,
                    backlog=BACKLOG,
                    ssl=tls,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if tls else None,
                )
                self.address = f"{_dialled_host(worker)}:{self.port}"
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


def _dialled_host(worker: WorkerSettings) -> str:
    """A worker that listens everywhere and was not told what callers dial names the address of its own host name."""
    if worker.advertised_host:
        return worker.advertised_host
    if worker.host in ("0.0.0.0", "::", ""):
        return socket.gethostbyname(socket.gethostname())
    return worker.host
