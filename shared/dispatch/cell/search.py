"""The search of one invocation for a place to run: how long it may take, what was tried."""

from __future__ import annotations

import time
from collections.abc import Iterable

from shared.dispatch.wire.messages import Refusal, RefusalReason
from shared.domain.errors import (
    DispatchError,
    DispatchUnavailableError,
    InvalidZipFileException,
    NoCapacityError,
    NotStartedError,
    StartFailedError,
)

ATTEMPTS_MAX = 16
"""Leases tried for one invocation when workers refuse it or cannot be reached."""
ELSEWHERE = (RefusalReason.NO_ROOM, RefusalReason.DRAINING, RefusalReason.UNSUPPORTED_RUNTIME)
NOT_STARTED = (RefusalReason.UNSUPPORTED_RUNTIME, RefusalReason.FAILED)


class Search:
    """avoid: "" or ",worker,worker,". elsewhere: another worker may take what the last one refused. recalled: others were asked
    to give back what they do not use. last_failure: what is said when nothing else is known. unsuited: workers that never run
    it, written as those to avoid. lacks_runtime: the last one refused it for that; others may lack it, too."""

    __slots__ = ("_attempts", "_until", "avoid", "elsewhere", "lacks_runtime", "last_failure", "recalled", "unsuited")

    def __init__(self, wait_s: float) -> None:
        self._until = time.monotonic() + wait_s
        self._attempts = 0
        self.avoid = ""
        self.unsuited = ""
        self.elsewhere = True
        self.lacks_runtime = False
        self.recalled = False
        self.last_failure: DispatchError | None = None

    def left_s(self) -> float:
        return self._until - time.monotonic()

    def count_attempt(self) -> None:
        """Raises DispatchError when there were too many."""
        self._attempts += 1
        if self._attempts > ATTEMPTS_MAX:
            raise self.last_failure or DispatchUnavailableError(f"no place to run it was found in {ATTEMPTS_MAX} attempts")

    def waited(self) -> None:
        """Waiting is bounded by time, not by attempts; and a worker that was avoided may be back."""
        self._attempts = max(0, self._attempts - 1)
        self.avoid = self.unsuited

    def failed(self, reason: str) -> None:
        self.last_failure = DispatchUnavailableError(reason)

    def refused(self, refusal: Refusal, worker_id: str) -> None:
        """What a refusal means for the search. Raises ApiError when every worker would refuse it."""
        if refusal.reason is RefusalReason.PACKAGE_REFUSED:
            raise InvalidZipFileException(refusal.detail)
        reason = f"a worker refused it: {refusal.reason}{f' ({refusal.detail})' if refusal.detail else ''}"
        if refusal.reason is RefusalReason.NO_ROOM:
            self.last_failure = NoCapacityError(reason)
        elif refusal.reason in NOT_STARTED:
            self.last_failure = StartFailedError(reason)
        else:
            self.last_failure = NotStartedError(reason)
        self.lacks_runtime = refusal.reason is RefusalReason.UNSUPPORTED_RUNTIME
        self.elsewhere = refusal.reason in ELSEWHERE
        if self.lacks_runtime:
            self.leave_out((worker_id,))
        elif self.elsewhere:
            self.avoid_worker(worker_id)

    def leave_out(self, worker_ids: Iterable[str]) -> None:
        """These never run it."""
        for worker_id in worker_ids:
            self.avoid_worker(worker_id)
            self.unsuited = _with(self.unsuited, worker_id)

    def avoid_worker(self, worker_id: str) -> None:
        """For now: it has no room, drains or cannot be reached."""
        self.avoid = _with(self.avoid, worker_id)


def _with(workers: str, worker_id: str) -> str:
    return workers if f",{worker_id}," in workers else f"{workers or ','}{worker_id},"
