"""The end of an invocation whose extensions take too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

from services.worker.environment.settling import Answered, Settling
from services.worker.sandbox.spec import Failure, Sandbox, ShutdownReason
from services.worker.telemetry.events import Status, TelemetryEvent
from shared.domain.invocations import InvocationResult


class LateSandbox:
    """Its extensions have done with the event just after the time for that was over."""

    def __init__(self) -> None:
        self.ended: list[ShutdownReason] = []
        self._on_settled: Callable[[Failure | None], None] | None = None

    def settled(self, on_settled: Callable[[Failure | None], None]) -> None:
        self._on_settled = on_settled

    async def shut_down(self, reason: ShutdownReason) -> None:
        assert self._on_settled is not None
        self._on_settled(None)
        self.ended.append(reason)


async def test_extensions_that_settle_just_after_their_time_are_shut_down_all_the_same() -> None:
    sandbox, answers, statuses = LateSandbox(), list[InvocationResult](), list[Status]()

    def account(_request: str, duration_ms: float, status: Status, _error: str | None, _memory: bool) -> InvocationResult:
        statuses.append(status)
        return InvocationResult(b"", "1", duration_ms=duration_ms)

    def publish(_event: TelemetryEvent) -> None:
        """Nobody listens."""

    settling = Settling(cast("Sandbox", sandbox), publish, account, 1.0)
    now = time.monotonic()
    assert await settling.run(Answered("r", "1", b"{}", None, now - 2, now - 1, None, False, answers.append)) is None
    assert [answer.payload for answer in answers] == [b"{}"]
    assert (sandbox.ended, statuses, settling.failed) == ([ShutdownReason.TIMEOUT], [Status.TIMEOUT], True)
