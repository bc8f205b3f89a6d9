"""Timers: when a schedule of EventBridge Scheduler, or a scheduled rule of EventBridge, is due. Pure rules, Unix milliseconds.

A moment that is due is *late* once its window has passed and a minute more, AWS's precision. What was missed is made up for
once: of several missed moments the first that is not too old, whereupon the timer goes on with the first that is still to come.
"""

from __future__ import annotations

import zlib

import msgspec

from shared.domain.errors import LambdadError
from shared.domain.schedule_expressions import At, Rate, next_firing_ms, parse_expression, parse_rule_expression, time_zone

PRECISION_MS = 60_000
"""How exactly AWS keeps times."""
AGE_S_MAX = 86_400
"""After which AWS gives an invocation up, where nobody has set less."""


class Timing(msgspec.Struct, frozen=True):
    """anchor_ms: a rate's first firing. start_ms, end_ms: bounds of what recurs. window_ms: how long after it was due it may
    fire at the latest, 0 for at once."""

    expression: str
    time_zone: str = "UTC"
    anchor_ms: int = 0
    start_ms: int | None = None
    end_ms: int | None = None
    window_ms: int = 0

    def due_after(self, after_ms: int) -> int | None:
        """The first moment later than `after_ms` at which it is due. Raises InvalidExpressionError, LambdadError."""
        zone = time_zone(self.time_zone)
        if zone is None:
            raise LambdadError(f"{self.time_zone} is no time zone")
        expression = parse_expression(self.expression)
        if isinstance(expression, At):
            return next_firing_ms(expression, zone, after_ms, 0)
        if self.start_ms is not None:
            after_ms = max(after_ms, self.start_ms - 1)
        due_ms = next_firing_ms(expression, zone, after_ms, self.anchor_ms)
        return None if due_ms is None or (self.end_ms is not None and due_ms > self.end_ms) else due_ms

    def first_due(self, now_ms: int) -> int | None:
        """Of a timer that is made, or made anew. A one-time schedule whose minute is not over yet is due at once."""
        expression = parse_expression(self.expression)
        if isinstance(expression, At):
            return self.due_after(now_ms - PRECISION_MS)
        return self.due_after(min(now_ms, self.anchor_ms - 1) if isinstance(expression, Rate) else now_ms)


def rule_timing(expression: str, now_ms: int) -> Timing:
    """Of a scheduled rule that is put now: a rate's first firing is one period later. Raises InvalidExpressionError."""
    parsed = parse_rule_expression(expression)
    return Timing(expression, anchor_ms=now_ms + parsed.period_ms if isinstance(parsed, Rate) else 0)


class Timer(msgspec.Struct, frozen=True):
    """owner: ARN of the schedule or rule. generation: another whenever its owner changes it. due_ms: the next moment, None for
    none; fire_at_ms: when in its window. last_due_ms: the moment that was fired last. advanced_ms: what the clock showed when
    due_ms was found."""

    owner: str
    generation: str
    timing: Timing
    due_ms: int | None
    fire_at_ms: int | None
    last_due_ms: int = 0
    advanced_ms: int = 0

    @property
    def service(self) -> str:
        return _service_of(self.owner)


class Firing(msgspec.Struct, frozen=True):
    """One firing of one timer. late_ms: after its window; 0 for none that is late."""

    owner: str
    generation: str
    due_ms: int
    late_ms: int = 0

    @property
    def service(self) -> str:
        return _service_of(self.owner)

    @property
    def firing_id(self) -> str:
        """The same however often the firing is handed over, and no other firing's."""
        return f"{self.owner}#{self.generation}#{self.due_ms}"


def planned(timer: Timer, due_ms: int | None, now_ms: int) -> Timer:
    """With another moment to be due at; inside its window the place is the firing's own, by chance."""
    fire_at_ms = due_ms
    if due_ms is not None and timer.timing.window_ms:
        fire_at_ms = due_ms + zlib.crc32(f"{timer.owner}#{due_ms}".encode()) % timer.timing.window_ms
    return msgspec.structs.replace(timer, due_ms=due_ms, fire_at_ms=fire_at_ms, advanced_ms=now_ms)


def fired(timer: Timer, now_ms: int, age_s_max: int = AGE_S_MAX) -> tuple[Firing | None, Timer]:
    """What a timer that is due fires, and the timer as it goes on. None: all that was missed is too old by now."""
    due_ms = timer.due_ms
    if due_ms is None:
        return None, timer
    oldest_ms = now_ms - age_s_max * 1_000
    if due_ms < oldest_ms:
        due_ms = timer.timing.due_after(oldest_ms - 1)
    firing = None
    if due_ms is not None and due_ms <= now_ms:
        late_ms = now_ms - due_ms - timer.timing.window_ms
        firing = Firing(timer.owner, timer.generation, due_ms, late_ms if late_ms > PRECISION_MS else 0)
        timer = msgspec.structs.replace(timer, last_due_ms=due_ms)
    return firing, planned(timer, timer.timing.due_after(max(now_ms, timer.last_due_ms)), now_ms)


def put_right(timer: Timer, now_ms: int) -> Timer:
    """After the clock has been put back: what was passed over while it was ahead is to come, what was fired is not."""
    return planned(timer, timer.timing.due_after(max(now_ms, timer.last_due_ms)), now_ms)


def _service_of(owner: str) -> str:
    """As ARNs name services."""
    return owner.split(":")[2]
