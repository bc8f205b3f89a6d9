"""The extensions of one sandbox: which there are, their processes, what they may call, and their end.

What they make of its phases is runtime_api/extensions/phases.py.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from services.worker.sandbox.init_link import InitLink
from services.worker.sandbox.output import OutputPipe
from services.worker.sandbox.programs import is_program
from services.worker.sandbox.runtime_api.extensions import calls
from services.worker.sandbox.runtime_api.extensions.phases import INTERNAL_S, RUNTIME_SHARE_S, Extensions
from services.worker.sandbox.runtime_api.extensions.registry import EXTENSIONS_MAX
from services.worker.sandbox.runtime_api.surface import Surface
from services.worker.sandbox.runtime_api.telemetry.calls import TelemetryCalls
from services.worker.sandbox.runtime_api.telemetry.hub import TelemetryHub
from services.worker.sandbox.spec import Failure, SandboxSpec, ShutdownReason, Watcher
from services.worker.sandbox.work_budget import WorkBudget
from services.worker.telemetry.events import ON_DEMAND, ExtensionOutput, InitRuntimeDone, Phase, Status

_NOT_FOR_EXTENSIONS = frozenset(
    (
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "_AWS_XRAY_DAEMON_ADDRESS",
        "_AWS_XRAY_DAEMON_PORT",
        "_HANDLER",
    )
)
"""Variables of the function that external extensions do not have. Source: AWS's documentation."""


def external_extensions(layers_dir: Path | None) -> tuple[str, ...]:
    """Names of the programs directly in /opt/extensions, in order. One more than may register, at most: it is refused."""
    if layers_dir is None:
        return ()
    try:
        found = sorted(path.name for path in (layers_dir / "extensions").iterdir() if is_program(path))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(found[: EXTENSIONS_MAX + 1])


def answers(path: str) -> bool:
    """Whether a call is an extension's."""
    return path.startswith(calls.PREFIX) or TelemetryCalls.api_of(path) is not None


class Owner(Protocol):
    """The sandbox; as of `phases.Extensions`."""

    def on_progress(self) -> None: ...
    def on_failure(self, failure: Failure) -> None: ...


class ExtensionHost:
    """Made for a sandbox that has external extensions, or whose runtime
    makes a call that is an extension's."""

    def __init__(
        self,
        spec: SandboxSpec,
        external: tuple[str, ...],
        watcher: Watcher,
        init: InitLink,
        uid: int,
        budget: WorkBudget,
        owner: Owner,
    ) -> None:
        version = spec.version
        function = calls.Function(version.function_name, version.version, spec.handler, version.account_id)
        self._external = external
        self._environment = variables_of(spec.environment)
        self._watcher = watcher
        self._init = init
        self._uid = uid
        self._budget = budget
        self._output: OutputPipe | None = None
        self.extensions = Extensions(function, external, watcher.on_event, owner.on_progress, owner.on_failure)
        initialization_type = spec.environment.get("AWS_LAMBDA_INITIALIZATION_TYPE", ON_DEMAND)
        self._hub = TelemetryHub(version, initialization_type, init.new_socket, budget)
        self._telemetry = TelemetryCalls(lambda: self.extensions.registry, self._hub, watcher.on_event)
        watcher.subscribe(self._hub.on_event)

    def find(self, path: str) -> Surface | None:
        if path.startswith(calls.PREFIX):
            return self.extensions.calls
        return self._telemetry if TelemetryCalls.api_of(path) is not None else None

    @property
    def has_processes(self) -> bool:
        return bool(self._external)

    # Processes

    async def launch(self) -> None:
        """Execute the external extensions. Raises SandboxError."""
        self._close_output()
        output = self._output = OutputPipe(self._uid, self._budget)
        output.deliver_to(self._on_output, self._watcher.on_event)
        fd = output.take_write_end()
        try:
            errors = await self._init.start_extensions(self._external, self._environment, fd)
        finally:
            os.close(fd)
        self.extensions.launched(errors)

    def runtime_ready(self, phase: Phase) -> None:
        """It has initialised: nobody registers any more."""
        if self.extensions.registry.open:
            self._watcher.on_event(InitRuntimeDone(phase, Status.SUCCESS))
        self.extensions.close_registration()

    def initialised(self) -> None:
        """So have all extensions: nobody subscribes any more."""
        self.extensions.close_registration()
        self._hub.close_subscriptions()

    def ending(self) -> None:
        """Every process is about to be killed, which is no failure of theirs."""
        self.extensions.end()
        self._hub.restarted()

    def restarted(self) -> None:
        self.extensions.restarted()
        self._hub.begin_again()

    def set_frozen(self, frozen: bool) -> None:
        self._hub.set_frozen(frozen)

    def drain(self) -> None:
        """What they wrote before now is in the log before what comes next."""
        if self._output is not None:
            self._output.drain()

    def on_exit(self, name: str, status: int, *, memory_kill: bool) -> None:
        self.drain()
        self.extensions.exited(name, status, memory_kill=memory_kill)

    async def shut_down(self, reason: ShutdownReason, runtime_ended: asyncio.Future[None]) -> None:
        """Within the budget. runtime_ended: set when its process has. Nothing but init runs afterwards. Raises SandboxError."""
        until = time.monotonic() + self.extensions.budget_s
        self.extensions.end()
        if self.extensions.some_run and not runtime_ended.done():
            self._init.terminate_runtime()
            share_s = RUNTIME_SHARE_S if self.has_processes else INTERNAL_S
            await asyncio.wait([runtime_ended], timeout=share_s)
            if not runtime_ended.done():
                await self._init.kill(runtime_only=True)
        self._hub.flush()
        await self.extensions.shut_down(reason, until)
        await self._init.kill()
        self._hub.restarted()
        self._hub.reopen()

    def close(self) -> None:
        self._hub.close()
        self._close_output()

    def _on_output(self, data: bytes, whole: bool) -> None:
        self._watcher.on_event(ExtensionOutput(data, whole))

    def _close_output(self) -> None:
        if self._output is not None:
            self._output.drain(ended=True)
            self._output.close()
            self._output = None


def variables_of(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the function's variables its external extensions have."""
    return {name: value for name, value in environment.items() if name not in _NOT_FOR_EXTENSIONS}
