"""A frontend as it runs in a cluster, on a port of its own, with the poller that settles mappings and the router beside it.

Two things are not as in a cluster: a test may hold what has been changed in Pending or InProgress, to look at it there, and
for queues it may let time pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import services.frontend.main as frontend
import services.poller.main as poller
import services.router.main as router
from deploy.local.ports import choose
from services.frontend.apis.lambda_.context import ControlContext
from shared.queues.queues import Queues
from shared.registry.records import FunctionVersion
from shared.registry.sns_tables import SigningKeyTable
from shared.registry.tables import Base
from shared.settings import Settings
from tests.conformance.wire import Wire
from tests.conftest import Engines, settings_for
from tests.integration.registry.support import new_database
from tests.support import wait_until

KEY, SECRET, REGION = "AKIDCONFORMANCE", "a-secret-of-the-conformance-tests", "us-east-1"
START_S, STOP_S, QUERY_S = 60.0, 30.0, 60.0


class HeldContext(ControlContext):
    """Leaves what handlers change as it is while `held`; afterwards it is settled as ever."""

    held = False

    def settle_later(self, *changed: FunctionVersion) -> None:
        if not HeldContext.held:
            super().settle_later(*changed)


class ClockedQueues(Queues):
    """By the machine's clock, put forward by `ahead_ms`."""

    ahead_ms = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, clock=lambda: time.time_ns() // 1_000_000 + ClockedQueues.ahead_ms, **options)


class ControlPlane:
    """endpoint: where it listens. The loop in which it runs is a thread's own: tests may block."""

    def __init__(self, engines: Engines, data_dir: Path, **sections: Any) -> None:
        self._engines = engines
        self._data_dir = data_dir
        self._sections = sections
        self._loop = asyncio.new_event_loop()
        self._port = choose(set())
        self._stop: asyncio.Event | None = None
        self.database_url = ""
        self.endpoint = f"http://127.0.0.1:{self._port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[ControlPlane]:
        failures: list[BaseException] = []

        def run() -> None:
            try:
                self._loop.run_until_complete(self._serve())
            except BaseException as error:
                failures.append(error)
                raise

        thread = threading.Thread(target=run, name="control-plane", daemon=True)
        thread.start()
        try:
            wait_until(lambda: failures or self._answers(), deadline_s=START_S, what="the control plane answers")
            assert not failures, failures
            yield self
        finally:
            if self._stop is not None and not failures:
                self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(STOP_S)
            assert not thread.is_alive(), "the control plane did not stop"

    def wire(self, service: str, protocol: str, region: str = REGION, **credentials: str) -> Wire:
        """service: its name in botocore. credentials: key, secret and token, where not the root's."""
        given = {"key": KEY, "secret": SECRET, **credentials}
        return Wire(service, protocol, endpoint=self.endpoint, region=region, **given)

    def empty_account(self) -> None:
        """No function, layer or anything else of the account is left in the registry; what the cluster made for itself is."""
        emptied = [table.name for table in Base.metadata.sorted_tables if table.name != SigningKeyTable.__tablename__]

        async def truncate() -> None:
            connection = await asyncpg.connect(self.database_url, timeout=QUERY_S)
            try:
                tables = ", ".join(f'"{name}"' for name in emptied)
                await connection.execute(f"TRUNCATE {tables} CASCADE", timeout=QUERY_S)
            finally:
                await connection.close(timeout=QUERY_S)

        self._await(truncate())

    def pass_time(self, seconds: float) -> None:
        """For queues."""
        ClockedQueues.ahead_ms += int(seconds * 1_000)

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:
        """Into the folder that stands in for S3."""
        target = self._data_dir / "s3" / Bucket / Key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Body)

    @property
    def held(self) -> bool:
        return HeldContext.held

    def hold(self, held: bool) -> None:
        HeldContext.held = held

    def _await(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(QUERY_S)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(frontend, "ControlContext", HeldContext)
            patch.setattr(frontend, "Queues", ClockedQueues)
            async with new_database(self._engines.database_url) as url:
                self.database_url = url
                settings = self._settings(url)
                async with asyncio.TaskGroup() as group:
                    group.create_task(frontend.serve(settings, self._stop))
                    group.create_task(poller.serve(settings, self._stop))
                    group.create_task(router.serve(settings, self._stop))

    def _settings(self, database_url: str) -> Settings:
        settings = settings_for(self._engines, self._data_dir)
        access = {"port": self._port, "root_access_key_id": KEY, "root_secret_access_key": SECRET}
        # Recorded connections name servers that nobody here asks.
        events = settings.events.model_dump() | {"connections_authorized_after_s": 86_400}
        sections = {
            "events": events,
            "frontend": settings.frontend.model_dump() | access,
            "dispatch": {"cell": f"conformance-{self._port}"},
        }
        return Settings.model_validate({**settings.model_dump(), "database_url": database_url, **sections, **self._sections})

    def _answers(self) -> bool:
        try:
            return self.wire("lambda", "rest-json").call("ListFunctions", {}).status == 200
        except Exception:
            return False
