"""Fires schedules and scheduled rules: every scheduler does, each what no other has in hand.

A firing is *claimed* (its timer's row is locked in Postgres), *handed over* (Kafka has its records with acks=all) and *settled*
(the timer goes on to its next moment, in the transaction that the claim began). Whoever dies before that leaves the timer as it
was: another scheduler fires it at once. What was handed over by then is handed over again, with the same ids, by which it is
known for the same firing. The clock decides what is due, and nothing is due twice however it is set: a timer only goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from prometheus_client import Counter, Histogram
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.schedules.deliveries import home_and_names
from services.scheduler.schedules.records import Record, records_of
from shared.domain.arns import Home
from shared.domain.schedules import DELETE, Schedule
from shared.domain.timers import AGE_S_MAX, Firing, Timer, fired
from shared.events.producer import BatchingProducer
from shared.events.topics import TopicNames, ensure_topics
from shared.registry import scheduler, timers
from shared.registry.database import Database
from shared.settings import Settings

log = logging.getLogger("lambdad.scheduler")

FIRED = Counter(
    "lambdad_schedule_firings_total", "Firings of schedules and scheduled rules, by service and how", ["service", "how"]
)
LATENESS = Histogram(
    "lambdad_schedule_lateness_seconds",
    "From when a firing was to be until Kafka had it",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
LOOK_EVERY_S = 0.5
"""So late may be noticed what was made a moment ago to be due at once. A look is one step down an index."""
CLAIMED_MAX = 250
"""Timers in one transaction: what another scheduler has to wait for, and what is handed over again, when one dies."""
TAKEN_S_MIN = 0.02
"""Between two looks while another scheduler has in hand what is due."""
TIDY_EVERY_S = 600.0
CLOCK_SET_BACK_S = 2.0
PUT_BACK_AT_ONCE = 1_000


class Schedules:
    """now_ms: what the clock shows, Unix milliseconds."""

    def __init__(self, settings: Settings, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._settings = settings
        self._names = TopicNames.of(settings.events)
        self._now_ms = now_ms
        self._database = Database(settings)
        self._producer = BatchingProducer.of(settings, "schedules")
        self._opened = False
        self._tidy_at = 0.0

    async def run(self) -> None:
        """Until cancelled. Raises ServiceException, EventsUnavailableError, KafkaError, ProduceError: to be run again."""
        if not self._opened:
            await ensure_topics(self._settings)
            await self._producer.open()
            self._opened = True
        await self._put_back()
        ahead_s = self._ahead_s()
        while True:
            # Where the clock has been put back, it is less ahead of the time that passes than it was.
            before_s, ahead_s = ahead_s, self._ahead_s()
            if ahead_s < before_s - CLOCK_SET_BACK_S:
                log.warning("the clock was put back by %.0f s", before_s - ahead_s)
                await self._put_back()
            await self._tidy()
            if await self.fire_due() < CLAIMED_MAX:
                await asyncio.sleep(await self._pause_s())

    async def close(self) -> None:
        await self._producer.close()
        await self._database.close()

    async def fire_due(self) -> int:
        """Fire what is due and nobody else has in hand, at most CLAIMED_MAX. -> timers that were claimed."""
        now_ms = self._now_ms()
        async with self._database.write() as connection:
            claimed = await timers.claim(connection, now_ms, CLAIMED_MAX)
            if not claimed:
                return 0
            schedules = await self._schedules(connection, claimed)
            firings, after = [], []
            for timer in claimed:
                schedule = schedules.get(timer.owner)
                firing, on = fired(timer, now_ms, AGE_S_MAX if schedule is None else schedule.age_s_max)
                after.append(on)
                if firing is None:
                    FIRED.labels(timer.service, "expired").inc()
                    log.error("%s was due at %s: too long ago, it is passed over", timer.owner, timer.due_ms)
                else:
                    firings.append(firing)
            await self._hand_over(
                [
                    record
                    for firing in firings
                    for record in records_of(firing, schedules.get(firing.owner), self._names, now_ms)
                ]
            )
            await timers.settle(connection, after)
            await _delete_completed(connection, firings, after, schedules)
        self._tell(firings, {timer.owner: timer for timer in claimed})
        return len(claimed)

    async def _schedules(self, connection: AsyncConnection, claimed: Sequence[Timer]) -> dict[str, Schedule]:
        """Of the timers that are schedules', by ARN."""
        by_home: dict[Home, list[tuple[str, str]]] = {}
        for timer in claimed:
            if timer.service == "scheduler":
                home, group, name = home_and_names(timer.owner)
                by_home.setdefault(home, []).append((group, name))
        found = [await scheduler.find_schedules(connection, home, names) for home, names in by_home.items()]
        return {schedule.arn: schedule for schedules in found for schedule in schedules}

    async def _hand_over(self, records: Sequence[Record]) -> None:
        """Returns when Kafka has all of them. Raises ProduceError."""
        sending = [self._producer.send(record.topic, record.value) for record in records]
        for end in await asyncio.gather(*sending, return_exceptions=True):
            if end is not None:
                raise end

    def _tell(self, firings: Sequence[Firing], claimed: dict[str, Timer]) -> None:
        now_ms = self._now_ms()
        late = [firing for firing in firings if firing.late_ms]
        for firing in firings:
            FIRED.labels(firing.service, "late" if firing.late_ms else "in_time").inc()
            LATENESS.observe(max(0, now_ms - (claimed[firing.owner].fire_at_ms or now_ms)) / 1000)
        if late:
            worst = max(late, key=lambda firing: firing.late_ms)
            log.warning(
                "%d firings are late, and what was missed since is passed over; the latest by %d s: %s",
                *(len(late), worst.late_ms // 1000, worst.firing_id),
            )

    async def _pause_s(self) -> float:
        async with self._database.read() as connection:
            next_ms = await timers.next_at_ms(connection)
        if next_ms is None:
            return LOOK_EVERY_S
        return min(LOOK_EVERY_S, max(TAKEN_S_MIN, (next_ms - self._now_ms()) / 1000))

    async def _put_back(self) -> None:
        """What was passed over while the clock was ahead is to come again."""
        while True:
            async with self._database.write() as connection:
                count = await timers.put_back(connection, self._now_ms() + int(CLOCK_SET_BACK_S * 1000), PUT_BACK_AT_ONCE)
            if count:
                log.warning("%d timers had gone on by a clock that was ahead and are put back", count)
            if count < PUT_BACK_AT_ONCE:
                return

    async def _tidy(self) -> None:
        if time.monotonic() < self._tidy_at:
            return
        self._tidy_at = time.monotonic() + TIDY_EVERY_S
        async with self._database.write() as connection:
            await scheduler.forget_tokens(connection, self._now_ms())

    def _ahead_s(self) -> float:
        return self._now_ms() / 1000 - time.monotonic()


async def _delete_completed(
    connection: AsyncConnection, firings: Sequence[Firing], after: Sequence[Timer], schedules: dict[str, Schedule]
) -> None:
    """Schedules that were fired for the last time and are to go then."""
    did_fire = {firing.owner for firing in firings}
    for timer in after:
        schedule = schedules.get(timer.owner)
        if timer.due_ms is None and timer.owner in did_fire and schedule is not None and schedule.after_completion == DELETE:
            await timers.stop(connection, timer.owner)
            await scheduler.delete_schedule(connection, schedule.home, schedule.group, schedule.name)
