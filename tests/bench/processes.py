"""Child processes of the benchmarks: started in a group of their own, waited for with a deadline, ended by their id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support import mortal

STOP_TIMEOUT_S = 10.0


class PeerError(Exception):
    """A peer could not be installed or started; it is reported as absent."""


class Child:
    def __init__(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ):
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=mortal(),
            )

    def wait_until(self, ready: Callable[[], bool], *, deadline_s: float, what: str) -> None:
        end = time.monotonic() + deadline_s
        while not ready():
            if self.process.poll() is not None:
                raise PeerError(f"{what} ended with {self.process.returncode}: {self.log_tail()}")
            if time.monotonic() > end:
                raise PeerError(f"{what} was not ready within {deadline_s:.0f} s: {self.log_tail()}")
            time.sleep(0.05)

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]

    def stop(self) -> None:
        """End the process and everything in its group; kills what does not go by itself."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT_S)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False
