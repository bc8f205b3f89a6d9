"""The supervisor: starts the engines side by side, each service as soon as its engines answer, and keeps them all running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial

from deploy.local import services
from deploy.local.child import SupervisedChild
from deploy.local.credentials import Credentials
from deploy.local.engines import STOP_TIMEOUT_S as ENGINE_STOP_TIMEOUT_S
from deploy.local.engines import Engine
from deploy.local.engines.external import ExternalEngine
from deploy.local.exits import exit_of
from deploy.local.layout import DataDir
from deploy.local.logs import rotate, tail
from deploy.local.readiness import service_problem
from deploy.local.services import ClusterOptions, Service
from deploy.local.state import Child, ChildState, ClusterState, Phase, write_state
from shared.domain.errors import ConfigurationError
from shared.telemetry.supervision import keep_running

READY_TIMEOUT_S = 90.0
ENGINE_ATTEMPTS = 3
SERVICE_ATTEMPTS = 6
"""Starts of one child that may fail before the first `ready` of the cluster; after it, children are restarted for ever."""
EXTERNAL_TIMEOUT_S = 5.0
CHECK_S = 0.05
ROTATION_PERIOD_S = 10.0

Report = Callable[[str], None]


class Supervisor:
    """One run of one cluster. `report` gets a line for a person at each step; `ends_with` is a pid that it does not outlive."""

    def __init__(
        self,
        data: DataDir,
        state: ClusterState,
        options: ClusterOptions,
        credentials: Credentials,
        engines: list[Engine | ExternalEngine],
        report: Report,
        *,
        ends_with: int | None = None,
    ) -> None:
        self._data = data
        self._state = state
        self._options = options
        self._credentials = credentials
        self._engines = engines
        self._report = report
        self._ends_with = ends_with
        self._variables = {name: value for engine in engines for name, value in engine.variables.items()}
        self._children: dict[str, SupervisedChild] = {}
        self._kinds: dict[str, str] = {}
        self._answering: dict[str, asyncio.Event] = {engine.name: asyncio.Event() for engine in engines}
        self._stop = asyncio.Event()
        self._began = 0.0

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Until SIGTERM or SIGINT. Raises ConfigurationError, with the end of a log, when the cluster cannot start."""
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop)
        self._state.supervisor_pid = os.getpid()
        self._state.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._state.children = []
        self._state.failure = None
        self._set_phase(Phase.STARTING)
        failure: str | None = None
        try:
            async with asyncio.TaskGroup() as group:
                failure = await self._run_until_stopped(group, on_ready)
        except* ConfigurationError as errors:  # of a child that could be started once, and cannot again
            failure = _text(errors)
        self._state.failure = failure
        self._set_phase(Phase.FAILED if failure else Phase.STOPPED)
        if failure:
            raise ConfigurationError(failure)

    async def _run_until_stopped(self, group: asyncio.TaskGroup, on_ready: Callable[[], None]) -> str | None:
        """What kept the cluster from starting, or None when it was asked to stop. Nothing runs any more on return."""
        owner = group.create_task(self._stop_with_owner())
        stop = group.create_task(self._stop.wait())
        start = group.create_task(self._start(group))
        await asyncio.wait((stop, start), return_when=asyncio.FIRST_COMPLETED)
        failure = start.result() if start.done() else None
        if start.done() and failure is None:
            self._report(f"ready in {self._elapsed():.1f} s")
            on_ready()
            self._set_phase(Phase.READY)  # Behind what a person is told: `up --detach` returns at it.
            rotation = group.create_task(keep_running("log-rotation", self._rotate_logs))
            await stop
            rotation.cancel()
        for task in (start, stop, owner):
            task.cancel()
        await asyncio.wait((start, stop, owner))
        self._set_phase(Phase.STOPPING)
        await self._stop_all()
        return failure

    async def _start(self, group: asyncio.TaskGroup) -> str | None:
        """Returns when all is ready, or with what keeps it from being so; children that were started go on in `group`."""
        failure: str | None = None
        try:
            async with asyncio.timeout(READY_TIMEOUT_S), asyncio.TaskGroup() as starting_group:
                for engine in self._engines:
                    starting_group.create_task(self._start_engine(engine, group))
                for service in services.plan(self._options, self._state.ports):
                    starting_group.create_task(self._start_service(service, group))
        except* TimeoutError:
            failure = self._late()
        except* ConfigurationError as errors:
            failure = _text(errors)
        return failure

    async def _start_engine(self, engine: Engine | ExternalEngine, group: asyncio.TaskGroup) -> None:
        record = Child(name=engine.name, kind="engine", port=self._state.ports.get(engine.name))
        self._state.children.append(record)
        if isinstance(engine, ExternalEngine):
            record.state, record.port = ChildState.EXTERNAL, engine.port
            await self._await_external(engine)
        else:
            record.state = ChildState.STARTING
            self._save()
            await asyncio.to_thread(engine.prepare)
            child = SupervisedChild(
                record,
                engine.launch,
                partial(asyncio.to_thread, engine.problem),
                self._save,
                stop_signal=engine.stop_signal,
                stop_timeout_s=ENGINE_STOP_TIMEOUT_S,
            )
            await self._adopt(child, engine.name, ENGINE_ATTEMPTS, group)
        self._answering[engine.name].set()

    async def _start_service(self, service: Service, group: asyncio.TaskGroup) -> None:
        record = Child(name=service.name, kind="service", port=service.port, ready_url=service.ready_url)
        self._state.children.append(record)
        for need in service.needs & self._answering.keys():
            await self._answering[need].wait()
        child = SupervisedChild(
            record,
            lambda: services.command(service, self._data, self._options, self._variables, self._credentials),
            partial(service_problem, service.ready_url),
            self._save,
            stop_signal=signal.SIGTERM,
            stop_timeout_s=services.STOP_TIMEOUT_S,
        )
        await self._adopt(child, service.kind, SERVICE_ATTEMPTS, group)

    async def _adopt(self, child: SupervisedChild, kind: str, attempts: int, group: asyncio.TaskGroup) -> None:
        """Run the child for as long as the cluster; return when it is ready for the first time."""
        name = child.record.name
        self._children[name] = child
        self._kinds[name] = kind
        group.create_task(child.run(), name=f"child-{name}")
        while not child.ready.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await child.ready.wait()
            if child.record.restarts >= attempts:
                raise ConfigurationError(
                    f"{name} does not start: it ended {attempts} times ({(child.record.last_exit or '').partition(';')[0]}). "
                    f"The end of {self._data.log(name)}:\n{tail(self._data.log(name))}"
                )
        self._report(f"{name} is ready after {self._elapsed():.1f} s")

    async def _await_external(self, engine: ExternalEngine) -> None:
        deadline = asyncio.get_running_loop().time() + EXTERNAL_TIMEOUT_S
        while (problem := await asyncio.to_thread(engine.problem)) is not None:
            if asyncio.get_running_loop().time() > deadline:
                raise ConfigurationError(problem)
            await asyncio.sleep(CHECK_S * 4)
        self._report(f"{engine.name} is the one at {engine.place} (the environment names it); it can be reached")

    async def _stop_all(self) -> None:
        for kinds in services.STOP_ORDER:
            stopping: list[Coroutine[None, None, None]] = [
                child.stop() for name, child in self._children.items() if self._kinds[name] in kinds
            ]
            await asyncio.gather(*stopping)

    async def _stop_with_owner(self) -> None:
        """Stop once the process that the cluster was started for has ended, whichever way it ended."""
        if self._ends_with is None:
            return
        try:
            await exit_of(self._ends_with)
        except ProcessLookupError:
            pass
        self._report(f"process {self._ends_with}, which this cluster was to end with, has ended")
        self._ask_to_stop()

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(ROTATION_PERIOD_S)
            for path in self._data.logs.glob("*.log"):
                rotate(path)

    def _late(self) -> str:
        waiting = [child for child in self._state.children if child.state not in (ChildState.READY, ChildState.EXTERNAL)]
        lines = [f"The cluster was not ready within {READY_TIMEOUT_S:.0f} s. Not ready:"]
        for child in waiting:
            lines.append(
                f"{child.name}: {child.problem or child.state}. The end of its log:\n{tail(self._data.log(child.name))}"
            )
        return "\n".join(lines)

    def _ask_to_stop(self) -> None:
        if self._stop.is_set():  # asked a second time: at once
            for child in self._children.values():
                child.kill()
        self._stop.set()

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    def _set_phase(self, phase: Phase) -> None:
        self._state.phase = phase
        self._save()

    def _save(self) -> None:
        # A full disk must not stop the supervisor from supervising; `status` shows older facts then.
        with contextlib.suppress(OSError):
            write_state(self._data.state, self._state)


def _text(group: BaseExceptionGroup[BaseException]) -> str:
    return "\n".join(str(error) for error in _leaves(group))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
