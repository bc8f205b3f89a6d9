"""The outcomes topic's consumer: delivers each outcome to whoever asked for it.

At-least-once: an outcome's offset is settled when every target has it, when what is left of it waits in a delay tier, or when
it is parked as undeliverable. Nothing leaves silently.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

import msgspec
from aiokafka import TopicPartition
from prometheus_client import Counter

from services.router.deliverers import Deliverers
from services.router.destinations import DeliveryError, Destination, UndeliverableError
from shared.domain.destinations import instead, kind_of
from shared.events.group import GroupReader, ReaderOptions
from shared.events.producer import BatchingProducer
from shared.events.records import Outcome, RecordError, decode_outcome, encode
from shared.events.supervision import run_until
from shared.events.tiers import DelayTiers
from shared.events.topics import TopicNames
from shared.settings import Settings

log = logging.getLogger("lambdad.router")

DELIVERED = Counter("lambdad_deliveries_total", "Outcomes delivered to a destination or dead-letter queue", ["kind"])
FAILED = Counter("lambdad_delivery_failures_total", "Deliveries that failed and are tried again", ["kind"])
PARKED = Counter("lambdad_undeliverable_total", "Deliveries parked in the undeliverable topic", ["kind"])

IN_FLIGHT_MAX = 400
IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024
FETCH_WAIT_S = 5.0
DRAIN_S = 4.0
CANCEL_S = 1.0
TRIED_FOR_S = 6 * 3_600
"""How long an outcome is tried: as long as AWS keeps an event at most."""


class OutcomeRouter:
    """One member of the group that delivers outcomes."""

    def __init__(self, settings: Settings, producer: BatchingProducer, deliverers: Deliverers) -> None:
        self._names = TopicNames.of(settings.events)
        self._producer = producer
        self._tiers = DelayTiers(settings.events, producer)
        self._destinations = deliverers.destinations
        self._dead_letters = deliverers.dead_letters
        self._options = ReaderOptions(
            cluster=settings.kafka,
            group_id=self._names.outcomes,
            client_id=f"{settings.instance or 'router'}-outcomes",
        )
        self._jobs: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._room = asyncio.Event()
        self._reader: GroupReader | None = None

    def problem(self) -> str | None:
        """For readiness: None while this router has its place in the group."""
        return None if self._reader is not None and self._reader.is_ready() else "has no place in the consumer group"

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises KafkaError when the group is lost: call again."""
        async with GroupReader([self._names.outcomes], self._options) as reader:
            self._reader = reader
            try:
                await run_until(stop, self._fetch_for_ever(reader))
            finally:
                await self._drain()
                self._reader = None

    async def _fetch_for_ever(self, reader: GroupReader) -> None:
        while True:
            for partition, records in (await reader.fetch(wait_s=FETCH_WAIT_S)).items():
                for record in records:
                    while len(self._jobs) >= IN_FLIGHT_MAX or self._bytes >= IN_FLIGHT_BYTES_MAX:
                        self._room.clear()
                        await self._room.wait()
                    job = asyncio.create_task(self._settle(reader, partition, record.offset, record.value or b""))
                    self._jobs.add(job)
                    job.add_done_callback(self._jobs.discard)

    async def _settle(self, reader: GroupReader, partition: TopicPartition, offset: int, value: bytes) -> None:
        self._bytes += len(value)
        try:
            await self._deliver(value)
            reader.settle(partition, offset)
        except Exception:
            # Its offset stays unsettled: the next owner of the partition tries it again.
            log.exception("outcome at %s@%d was left unsettled", partition, offset)
        finally:
            self._bytes -= len(value)
            self._room.set()

    async def _deliver(self, value: bytes) -> None:
        try:
            outcome = decode_outcome(value)
        except RecordError as error:
            log.error("an outcome that cannot be read is parked: %s", error)
            PARKED.labels("unreadable").inc()
            await self._producer.persist(self._names.undeliverable, value, headers=(("reason", str(error).encode()),))
            return
        kept: list[str] = []
        for target in outcome.targets:
            if not await self._try(outcome, target, self._destinations):
                kept.append(target)
        letter = outcome.dead_letter_arn
        if letter is not None and await self._try(outcome, letter, self._dead_letters):
            letter = None
        if not kept and letter is None:
            return
        again = msgspec.structs.replace(
            outcome, targets=tuple(kept), dead_letter_arn=letter, deliveries_failed=outcome.deliveries_failed + 1
        )
        if time.time() - outcome.finished_at_ms / 1_000 > TRIED_FOR_S:
            await self._park(again, "tried for too long")
        else:
            await self._tiers.put(self._tiers.backoff_delay_s(outcome.deliveries_failed), self._names.outcomes, encode(again))

    async def _try(self, outcome: Outcome, target: str, by_kind: Mapping[str, Destination]) -> bool:
        """True when nothing more is to be done for this target."""
        kind = kind_of(target)
        destination = by_kind.get(kind)
        letter = by_kind is self._dead_letters
        try:
            if destination is None:
                # A configuration of an earlier version: today it would be refused.
                raise UndeliverableError(instead(target) or f"nothing delivers to destinations of kind {kind!r}")
            await destination.deliver(outcome, target)
        except DeliveryError as error:
            FAILED.labels(kind).inc()
            log.warning("outcome %s did not reach %s: %s", outcome.event_id, target, error)
            return False
        except UndeliverableError as error:
            left = msgspec.structs.replace(
                outcome, targets=() if letter else (target,), dead_letter_arn=target if letter else None
            )
            await self._park(left, str(error))
        except Exception:
            # A fault of ours: tried again like any other, and parked in the end with the outcome kept whole.
            FAILED.labels(kind).inc()
            log.exception("outcome %s did not reach %s", outcome.event_id, target)
            return False
        else:
            DELIVERED.labels(kind).inc()
        return True

    async def _park(self, outcome: Outcome, reason: str) -> None:
        """Keep what no destination takes where a person can look at it."""
        for target in (*outcome.targets, *([outcome.dead_letter_arn] if outcome.dead_letter_arn else [])):
            PARKED.labels(kind_of(target)).inc()
            log.error("outcome %s for %s is parked: %s", outcome.event_id, target, reason)
        await self._producer.persist(self._names.undeliverable, encode(outcome), headers=(("reason", reason.encode()),))

    async def _drain(self) -> None:
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=DRAIN_S)
        left = list(self._jobs)
        for job in left:
            job.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCEL_S)
