"""The three real engines as child processes: what each needs before it starts, how it is started, when it answers."""

from __future__ import annotations

import signal
from typing import Protocol

from deploy.local.launch import Launch


class Engine(Protocol):
    """One engine. variables: what tells clients of it.

    `prepare` and `problem` block (at most seconds, and `PROBE_TIMEOUT_S`); call them off the event loop."""

    name: str
    variables: dict[str, str]
    stop_signal: signal.Signals

    def prepare(self) -> None:
        """Make what the engine needs on disk. Idempotent. Raises ConfigurationError."""

    def launch(self) -> Launch:
        """How to start it."""

    def problem(self) -> str | None:
        """None once it answers as its clients need it, else what is still missing."""


PROBE_TIMEOUT_S = 1.0
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
