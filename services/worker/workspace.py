"""A worker's own directory below the data directory, claimed by a lock, and the removal of what dead workers left there."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from pathlib import Path

from services.worker.code import trees
from shared.domain.errors import ConfigurationError

log = logging.getLogger("lambdad.worker")

PREFIX = "worker-"
LOCK = "lock"


class Workspace:
    """path: the worker's directory, 0711: what lies below may be reached by those who know its name and have the right."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def release(self) -> None:
        os.close(self._lock)


def claim(data_dir: Path, instance: str) -> Workspace:
    """Make and lock `<data_dir>/<instance>`. Raises ConfigurationError when it cannot be made or another worker has it."""
    name = instance if instance.startswith(PREFIX) else PREFIX + instance
    path = data_dir.absolute() / name
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o711)
        lock = _try_lock(path)
    except OSError as error:
        raise ConfigurationError(f"the worker's directory {path} cannot be used: {error.strerror}") from error
    if lock is None:
        raise ConfigurationError(f"another worker named {name} is running on {data_dir}")
    return Workspace(path, lock)


def remove_abandoned(data_dir: Path, mine: Path, stop: threading.Event | None = None) -> None:
    """Remove directories of workers that are dead, until `stop` is set. One with anything mounted below it is left alone:
    removing it would remove what is mounted. May take long: call it in a thread, when nobody waits for this worker."""
    try:
        mounted = _mount_points()
    except OSError as error:
        log.warning("directories of dead workers are not removed: %s", error)
        return
    for path in data_dir.absolute().glob(PREFIX + "*"):
        if path == mine or not path.is_dir() or path.is_symlink():
            continue
        try:
            lock = _try_lock(path)
        except OSError:
            continue
        if lock is None:
            continue
        try:
            if any(point == str(path) or point.startswith(f"{path}/") for point in mounted):
                log.warning("%s is left by a dead worker and has mounts below it: not removed", path)
            else:
                trees.remove(path, stop)
        finally:
            os.close(lock)


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock, None when another process has it. The kernel lets go when the holder dies."""
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _mount_points() -> list[str]:
    """Mount points of this process, as /proc/self/mountinfo has them: octal escapes for blanks and the like."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split(" ")[4].encode().decode("unicode_escape") for line in lines]
