"""An error that a runtime has posted before it writes it to the log: it waits, so that the log has it ahead of the report.

AWS's client for Java posts first, and so the answer's log, and the report, would lack the stack trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.worker.sandbox.spec import RuntimeResponse

LATE_S_MAX = 0.5


class LateError:
    """give: takes it when the runtime asks for its next event, ends, or has had enough time."""

    def __init__(self, give: Callable[[RuntimeResponse], None]) -> None:
        self._give = give
        self._error: RuntimeResponse | None = None
        self._until: asyncio.TimerHandle | None = None

    def hold(self, error: RuntimeResponse) -> None:
        self._error = error
        self._until = asyncio.get_running_loop().call_later(LATE_S_MAX, self.let_go)

    def let_go(self) -> None:
        """Give it, if there is one."""
        error, self._error = self._error, None
        if self._until is not None:
            self._until.cancel()
        if error is not None:
            self._give(error)

    def drop(self) -> None:
        """Whoever waited has been told otherwise."""
        self._error = None
        if self._until is not None:
            self._until.cancel()
