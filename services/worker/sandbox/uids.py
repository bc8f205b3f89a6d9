"""Which user ids this worker may use: a slice of the configured range that no other worker of this host has."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from prometheus_client import Gauge

from services.worker.sandbox.spec import SandboxError
from shared.domain.errors import ConfigurationError

FREE = Gauge("lambdad_worker_user_ids_free", "User ids that the worker can give to sandboxes")


class Uids(Protocol):
    """Who sandboxes are, each another one. owner: who owns, on the host, what a sandbox of a uid is to own."""

    def owner(self, uid: int) -> int: ...

    def take(self) -> int:
        """Raises SandboxError."""

    def give_back(self, uid: int) -> None: ...

    @property
    def free(self) -> int: ...

    def close(self) -> None: ...


_LOCKS = Path("/run/lambdad-uids")


class _Free:
    """Who has an id for as long as it is taken, and how long one rests before another function has it."""

    def __init__(self, first: int, count: int) -> None:
        self._free = list(range(first + count - 1, first - 1, -1))

    def take(self) -> int:
        if not self._free:
            raise SandboxError("every user id of this worker is in use")
        return self._free.pop()

    def give_back(self, uid: int) -> None:
        # To the far end: a uid rests as long as possible before another function has it.
        self._free.insert(0, uid)

    @property
    def free(self) -> int:
        return len(self._free)


class UidPool(_Free):
    """Raises ConfigurationError when every slice of the range is taken by other workers."""

    def __init__(self, first: int, count: int, wanted: int) -> None:
        size = min(wanted, count)
        _LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
        for start in range(first, first + count - size + 1, size):
            lock = os.open(_LOCKS / str(start), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self._lock: int | None = lock
            super().__init__(start, size)
            FREE.set_function(lambda: len(self._free))
            return
        raise ConfigurationError(
            f"all of the user ids {first} to {first + count - 1} are used by other workers of this host: "
            "widen LAMBDAD_WORKER__UID_COUNT"
        )

    def owner(self, uid: int) -> int:
        return uid

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class NominalUids(_Free):
    """Of a worker in a user namespace with one user: every sandbox has one of these in a namespace of its own, and to the host
    all of them are that user."""

    def owner(self, uid: int) -> int:
        return os.geteuid()

    def close(self) -> None:
        pass
