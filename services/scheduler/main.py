"""The scheduler: one of possibly several, of which one leads. It is never on the path of an invoke."""

from __future__ import annotations

import asyncio
import logging
import uuid

from aiokafka.errors import KafkaError
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from services.scheduler.keep_alive import KeepAlive
from services.scheduler.leader import Leadership
from services.scheduler.provisioned.plans import Plans, RegistryPlans
from services.scheduler.provisioned.provisioner import Provisioner
from services.scheduler.provisioned.starts import Environments
from services.scheduler.reaper import Reaper
from services.scheduler.rebuild import Rebuilder
from services.scheduler.schedules.firing import Schedules
from shared.dispatch.cell.heartbeat import pause, set_after
from shared.dispatch.cell.keys import Keys, check_instance_name
from shared.dispatch.cell.scripts import SCRIPTS
from shared.dispatch.cell.workers import WorkerConnections
from shared.dispatch.wire.tls import for_caller
from shared.domain.errors import ConfigurationError
from shared.domain.pauses import Bounds
from shared.redis.connection import RedisConnection, RedisError
from shared.settings import Settings
from shared.telemetry.health import HealthServer
from shared.telemetry.supervision import FORESEEN, keep_running

log = logging.getLogger("lambdad.scheduler")

LEADS = Gauge("lambdad_scheduler_leads", "1 on the scheduler that leads its cell")
REBUILDING_STEP_S = 0.05
"""Steps come closer together while every invoke waits for a rebuild."""


class Scheduler:
    """The scheduler's loop. plans: of provisioned concurrency; none without them. problem: a health check's answer."""

    def __init__(self, settings: Settings, plans: Plans | None = None) -> None:
        dispatch = settings.dispatch
        secret = settings.cluster_secret.get_secret_value().encode()
        if not secret:
            raise ConfigurationError("set LAMBDAD_CLUSTER_SECRET to the same secret for every process of the cluster")
        name = check_instance_name(f"{settings.instance or 'scheduler'}.{uuid.uuid4().hex[:8]}")
        keys = Keys(dispatch.cell)
        self._heartbeat_s = dispatch.heartbeat_s
        self._step_now = asyncio.Event()
        self._redis = RedisConnection(
            settings.redis_url,
            name=name,
            connect_timeout_s=dispatch.connect_timeout_s,
            timeout_s=dispatch.redis_timeout_s,
            channel=keys.events,
            on_published=self._on_published,
            on_connected=self._step_now.set,
            scripts=SCRIPTS.all(),
        )
        self._workers = WorkerConnections(
            self._redis,
            keys,
            secret=secret,
            tls=for_caller(dispatch),
            role="scheduler",
            instance=name,
            timeout_s=dispatch.connect_timeout_s,
            on_end=lambda lease, outcome: self._environments.give_back(lease, outcome),
            on_lost=lambda connection: None,
        )
        self._leadership = Leadership(self._redis, keys, name, dispatch.dead_after_s)
        self._rebuilder = Rebuilder(self._redis, keys, dispatch)
        self._reaper = Reaper(self._redis, keys, dispatch.dead_after_s)
        self._leads_open = ""
        self._environments = Environments(self._redis, keys, self._workers, name, lambda: self._leads_open)
        self._provisioner = None if plans is None else Provisioner(self._environments, plans)
        bounds = Bounds(dispatch.keep_alive_s, dispatch.keep_alive_s_min, dispatch.keep_alive_s_max)
        self._keep_alive = KeepAlive(self._redis, keys, self._workers, bounds)
        self.problem: str | None = "not connected to Redis yet"

    async def run(self, stop: asyncio.Event) -> None:
        """Lead, or stand by, until `stop`; then let another scheduler take over."""
        self._redis.start()
        tasks = [asyncio.create_task(set_after(stop, self._step_now), name="scheduler-stop")]
        if self._provisioner is not None:
            provisioning = self._provisioner.run(self._heartbeat_s)
            tasks.append(asyncio.create_task(provisioning, name="provisioned-concurrency"))
        try:
            await keep_running("scheduler", lambda: self._step_until(stop), stop, essential=True)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._leadership.resign()
            await self._workers.close()
            await self._redis.close()

    async def _step_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            pause_s = self._heartbeat_s
            try:
                if self._redis.connected and not await self._step():
                    pause_s = REBUILDING_STEP_S
            except Exception as error:
                # Nobody knows how far the step came: as long as none has succeeded, nothing is done in a leader's name.
                self._leads_open = ""
                self._reaper.pause()
                if not isinstance(error, RedisError):
                    raise
                self.problem = f"redis: {error}"
            await pause(self._step_now, pause_s)

    async def _step(self) -> bool:
        """One round; False while a rebuild goes on under this leader."""
        leadership = await self._leadership.step()
        LEADS.set(1 if leadership else 0)
        self.problem = None
        if not leadership:
            self._leads_open = ""
            self._reaper.pause()
            return True
        if not await self._rebuilder.step(leadership):
            self._leads_open = ""
            self._reaper.pause()
            return False
        self._leads_open = leadership
        await self._reaper.step(leadership)
        await self._keep_alive.step(leadership)
        return True

    def _on_published(self, message: bytes) -> None:
        if message == b"wiped":
            self._step_now.set()
        elif self._provisioner is not None and message.startswith(b"changed "):
            self._provisioner.changed()
        elif self._provisioner is not None and message.startswith((b"provisioned", b"joined ")):
            self._provisioner.wake()
        elif message.startswith(b"lost "):
            self._workers.forget(message[5:].decode())


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run a scheduler until `stop` is set. Raises ConfigurationError without a cluster secret."""
    scheduler = Scheduler(settings, RegistryPlans(settings))
    firing = asyncio.create_task(fire_schedules(settings, stop), name="schedules")
    async with HealthServer(settings.telemetry, service="scheduler", checks={"redis": lambda: scheduler.problem}):
        try:
            await scheduler.run(stop)
        finally:
            firing.cancel()
            await asyncio.gather(firing, return_exceptions=True)


async def fire_schedules(settings: Settings, stop: asyncio.Event) -> None:
    """Until `stop` is set, whether this scheduler leads or not: a claim in Postgres says who fires what."""
    schedules = Schedules(settings)
    try:
        await keep_running("schedules", schedules.run, stop, foreseen=(*FORESEEN, KafkaError, SQLAlchemyError))
    finally:
        await schedules.close()
