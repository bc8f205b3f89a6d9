"""One supervised child: started, watched until ready, started again with backoff when it ends, stopped within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable

from deploy.local.exits import exit_of
from deploy.local.launch import Launch, launch
from deploy.local.logs import tail
from deploy.local.state import Child, ChildState

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 30.0
STABLE_AFTER_S = 30.0
"""A child that ran this long and then ends starts again at the first, shortest wait."""
READY_POLL_S = 0.05
READY_POLL_MAX_S = 1.0
KILL_TIMEOUT_S = 5.0
LAST_EXIT_BYTES = 400

Probe = Callable[[], Awaitable[str | None]]


class SupervisedChild:
    """record: what the state file shows of it; `changed` is called after each change of it.

    The log is given back in `last_exit` and in errors, so that a person need not look for it.
    """

    def __init__(
        self,
        record: Child,
        command: Callable[[], Launch],
        probe: Probe,
        changed: Callable[[], None],
        *,
        stop_signal: signal.Signals,
        stop_timeout_s: float,
    ) -> None:
        self.record = record
        self.ready = asyncio.Event()
        self._command = command
        self._probe = probe
        self._changed = changed
        self._stop_signal = stop_signal
        self._stop_timeout_s = stop_timeout_s
        self._stopping = False
        self._wake = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._exited = asyncio.Event()
        self._exited.set()

    async def run(self) -> None:
        """Until `stop`. Raises ConfigurationError when it cannot be started at all."""
        failures = 0
        while not self._stopping:
            started = time.monotonic()
            self._set(ChildState.STARTING)
            status = await self._run_once()
            if self._stopping:
                break
            self.ready.clear()
            failures = 1 if time.monotonic() - started > STABLE_AFTER_S else failures + 1
            self.record.restarts += 1
            self.record.last_exit = describe_exit(status, tail(self._command().log, LAST_EXIT_BYTES))
            self.record.pid = None
            self._set(ChildState.RESTARTING)
            await self._pause(min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (failures - 1)))
        self.record.pid = None
        self._set(ChildState.STOPPED)

    async def stop(self) -> None:
        """Ask it to end, make it end after its time is over; returns when it is gone."""
        self._stopping = True
        self._wake.set()
        process = self._process
        if process is None or self._exited.is_set():
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self._stop_signal)
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await self._exited.wait()
        except TimeoutError:
            self.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_TIMEOUT_S):
                    await self._exited.wait()

    def kill(self) -> None:
        """At once, with everything in its session."""
        self._stopping = True
        self._wake.set()
        if self._process is not None and not self._exited.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _run_once(self) -> int:
        process = self._process = launch(self._command())
        self._exited.clear()
        self.record.pid = process.pid
        self._changed()
        watcher = asyncio.create_task(self._watch_until_ready(), name=f"ready-{self.record.name}")
        try:
            await exit_of(process.pid)
        finally:
            watcher.cancel()
            if process.poll() is None:  # We are being cancelled: nothing may outlive this task.
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
            self._exited.set()
        return status

    async def _watch_until_ready(self) -> None:
        pause = READY_POLL_S
        while True:
            problem = await self._probe()
            if problem is None:
                self.record.problem = None
                self._set(ChildState.READY)
                self.ready.set()
                return
            if problem != self.record.problem:
                self.record.problem = problem
                self._changed()
            await asyncio.sleep(pause)
            pause = min(READY_POLL_MAX_S, pause * 1.1)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _set(self, state: ChildState) -> None:
        self.record.state = state
        self._changed()


def describe_exit(status: int, log_end: str) -> str:
    """How a process ended, for a person."""
    if status < 0:
        try:
            how = f"killed by {signal.Signals(-status).name}"
        except ValueError:
            how = f"killed by signal {-status}"
    else:
        how = f"exit status {status}"
    return f"{how}; the end of its log: {log_end}" if log_end else how
