"""state.json: what the supervisor tells the other commands. Written by the supervisor alone, whole and atomically."""

from __future__ import annotations

import enum
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from shared.domain.errors import ConfigurationError


class Phase(enum.StrEnum):
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class ChildState(enum.StrEnum):
    WAITING = "waiting"  # for the engines it needs
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    EXTERNAL = "external"  # named by URL, not ours


class Child(msgspec.Struct):
    """One engine or service. restarts: since this `up`. last_exit: how it ended the last time, with the end of its log.
    weaker: what it gives less of than was wanted, though it is ready."""

    name: str
    kind: str
    state: ChildState = ChildState.WAITING
    pid: int | None = None
    port: int | None = None
    ready_url: str | None = None
    restarts: int = 0
    last_exit: str | None = None
    problem: str | None = None
    weaker: str | None = None


class ClusterState(msgspec.Struct):
    """supervisor_pid is that of the last `up`; whether it still runs is told by the lock alone (see `is_running`)."""

    phase: Phase = Phase.STOPPED
    supervisor_pid: int = 0
    started_at: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    account_id: str = "000000000000"
    port: int = 0
    auth: bool = True
    workers: int = 1
    failure: str | None = None
    ports: dict[str, int] = {}
    children: list[Child] = []


def read_state(path: Path) -> ClusterState | None:
    """None when no cluster was ever started there, or what is there is not readable as one. Raises ConfigurationError when it
    is another user's."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ClusterState)
    except PermissionError as error:
        raise ConfigurationError(
            f"{path.parent} belongs to another user; run this as the one that started the cluster."
        ) from error
    except (OSError, msgspec.DecodeError):
        return None


def write_state(path: Path, state: ClusterState) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    partial.replace(path)


@contextmanager
def hold_lock(path: Path) -> Iterator[bool]:
    """Be the one supervisor of a data directory while the block runs. Yields False when another one is.

    The kernel lets go of it when the process ends, however it ends.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Several tries: `is_running` in another process holds it for a moment.
        yield any(_try_lock(descriptor, fcntl.LOCK_EX, pause_s) for pause_s in (0.0, 0.05, 0.2))
    finally:
        os.close(descriptor)


def is_running(lock: Path) -> bool:
    """Whether a supervisor holds the lock now."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH, 0.0)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int, pause_s: float) -> bool:
    time.sleep(pause_s)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
