"""Delivers: one try for each delivery where it is made, and what follows from its end.

At-least-once: `deliver_now_or_later` returns when each delivery is at its target, at its dead letter's, or durable in Kafka (in
a delay tier, or among what is undeliverable). Until then its maker keeps its own offset unsettled. Nothing leaves silently.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
from prometheus_client import Counter

from services.router.deliveries import attempts, decisions
from services.router.deliveries.contract import (
    Deliverer,
    DeliveryError,
    Happened,
    Happening,
    TargetBusyError,
    TargetMissingError,
    Tell,
    UndeliverableError,
)
from services.router.deliveries.places import Places
from shared.domain.destinations import kind_of
from shared.events.producer import BatchingProducer
from shared.events.records import RECORD_BYTES_MAX, Behalf, Delivery, QueueParameters, TopicParameters, decode_delivery, encode
from shared.events.tiers import DelayTiers
from shared.events.topics import TopicNames
from shared.settings import Settings

log = logging.getLogger("lambdad.router")

DELIVERED = Counter("lambdad_deliveries_total", "Deliveries that reached their target", ["kind", "behalf"])
FAILED = Counter("lambdad_delivery_failures_total", "Tries that failed and are made again", ["kind", "behalf"])
PUT_OFF = Counter("lambdad_delivery_put_off_total", "Deliveries that wait because their target is busy", ["kind"])
MISSING = Counter("lambdad_delivery_target_missing_total", "Deliveries whose target does not exist", ["kind", "behalf"])
LETTERS = Counter("lambdad_dead_letters_total", "Deliveries that became dead letters", ["kind", "behalf"])
PARKED = Counter("lambdad_undeliverable_total", "Deliveries parked in the undeliverable topic", ["kind"])

HELD_S_MAX = 60
"""So long a message of a group is tried without giving way to the next of its group, where AWS promises no order."""
HELD_PAUSE_S_MAX = 2.0
"""Between the tries of one that is held until it is there: all of its group wait for it."""
AT_ONCE = 500
"""Of the deliveries that a maker hands over together."""
EARLY_S = 0.05
"""A delivery that comes back so much before it is due is tried."""


class Courier:
    """deliverers: by the kind of a target (shared/domain/destinations). keepers: by kind, who keeps what was meant for a target
    that does not exist. tell: of whatever a try came to."""

    def __init__(
        self,
        settings: Settings,
        producer: BatchingProducer,
        deliverers: Mapping[str, Deliverer],
        keepers: Mapping[str, Deliverer],
        tell: Tell,
    ) -> None:
        self._names = TopicNames.of(settings.events)
        self._tiers = DelayTiers(settings.events, producer)
        self._producer = producer
        self._deliverers = deliverers
        self._keepers = keepers
        self._tell = tell
        self._places = Places()
        self._groups: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    async def deliver_now_or_later(self, deliveries: Sequence[Delivery]) -> None:
        """Try all of them, beside each other; those of one message group in their order. Returns when nothing of them would be
        lost if this process ended. Raises only what is a fault of ours: then the maker's own record has to come again."""
        if len(deliveries) == 1:
            await self._deliver(deliveries[0])
            return
        for begin in range(0, len(deliveries), AT_ONCE):
            ends = await asyncio.gather(*map(self._deliver, deliveries[begin : begin + AT_ONCE]), return_exceptions=True)
            for end in ends:
                if end is not None:
                    raise end

    async def take_up(self, value: bytes) -> None:
        """A record of the topic of deliveries. Raises RecordError."""
        delivery = decode_delivery(value)
        early_s = delivery.due_ms / 1_000 - time.time()
        if delivery.due_ms and early_s > EARLY_S:
            await self._later(decisions.Again(delivery, early_s))
        else:
            await self._deliver(delivery)

    async def _deliver(self, delivery: Delivery) -> None:
        async with self._turn(delivery):
            while True:
                decision, error = await self._try(delivery)
                match decision:
                    case None:
                        return
                    case decisions.Again(delivery=again, pause_s=pause_s) if pause_s == 0 or self._holds(again):
                        self._retried(delivery, error, again)
                        await asyncio.sleep(min(pause_s, HELD_PAUSE_S_MAX) if _is_in_order(again) else pause_s)
                        delivery = again
                    case decisions.Again(delivery=again):
                        await self._later(decision)
                        self._retried(delivery, error, again)
                        return
                    case decisions.Letter(delivery=letter):
                        LETTERS.labels(kind_of(letter.target), delivery.behalf.value).inc()
                        self._happened(delivery, Happening.DEAD_LETTERED, error)
                        delivery = letter
                    case decisions.Over():
                        await self._park(delivery, error)
                        return

    async def _try(self, delivery: Delivery) -> tuple[decisions.Decision | None, str]:
        """What follows, None when nothing more is to be done; and what went wrong."""
        size_bytes = len(delivery.payload)
        since_s = await self._places.take(delivery.target, size_bytes)
        if since_s is None:
            PUT_OFF.labels(kind_of(delivery.target)).inc()
            return decisions.put_off(delivery, _now_ms(), self._tiers), ""
        try:
            await self._hand_over(delivery)
        except TargetBusyError as error:
            if decisions.too_old(delivery, _now_ms()):
                return await self._follow_failure(delivery, error), str(error)
            PUT_OFF.labels(kind_of(delivery.target)).inc()
            return decisions.put_off(delivery, _now_ms(), self._tiers), ""
        except DeliveryError as error:
            return await self._follow_failure(delivery, error), str(error)
        except Exception as error:
            # A fault of ours: tried again like any other, and parked in the end with the delivery kept whole.
            log.exception("delivery %s did not reach %s", delivery.delivery_id, delivery.target)
            return await self._follow_failure(delivery, DeliveryError(repr(error), "INTERNAL_ERROR")), repr(error)
        finally:
            self._places.leave(delivery.target, size_bytes, since_s)
        DELIVERED.labels(kind_of(delivery.target), delivery.behalf.value).inc()
        self._happened(delivery, Happening.DELIVERED)
        return None, ""

    async def _hand_over(self, delivery: Delivery) -> None:
        kind = kind_of(delivery.target)
        deliverer = self._deliverers.get(kind)
        if deliverer is None:
            # A configuration of an earlier version: today it would be refused.
            raise UndeliverableError(f"nothing delivers to targets of kind {kind!r}")
        await deliverer.deliver(attempts.numbered(delivery))

    async def _follow_failure(self, delivery: Delivery, error: DeliveryError) -> decisions.Decision | None:
        kind, behalf = kind_of(delivery.target), delivery.behalf.value
        if isinstance(error, TargetMissingError):
            MISSING.labels(kind, behalf).inc()
        decision = decisions.after_failure(delivery, error, _now_ms(), self._tiers)
        keeper = self._keepers.get(kind)
        if isinstance(decision, decisions.Over) and isinstance(error, TargetMissingError) and keeper is not None:
            try:
                await keeper.deliver(delivery)
            except DeliveryError as failure:
                error, decision = failure, decisions.after_failure(delivery, failure, _now_ms(), self._tiers)
            else:
                log.error("%s is not there: delivery %s is kept for it", delivery.target, delivery.delivery_id)
                self._happened(delivery, Happening.KEPT, str(error))
                return None
        FAILED.labels(kind, behalf).inc()
        log.warning("delivery %s did not reach %s: %s", delivery.delivery_id, delivery.target, error)
        return decision

    def _holds(self, delivery: Delivery) -> bool:
        """Whether it is tried again here, so that nothing of its group overtakes it. FIFO topics have a topic of Kafka and a
        consumer of their own, so that however long it takes keeps nothing else from being delivered."""
        if _group_of(delivery) is None:
            return False
        return _is_in_order(delivery) or _now_ms() - delivery.made_at_ms < HELD_S_MAX * 1_000

    async def _later(self, again: decisions.Again) -> None:
        """Durable in the tier that is next to what it has to wait; what is left to wait is waited for after it."""
        record = encode(again.delivery)
        if len(record) > RECORD_BYTES_MAX:
            await self._park(again.delivery, "it is too large to wait for another try")
            return
        await self._tiers.put(self._tiers.longest_within(again.pause_s), self._names.deliveries, record)

    async def _park(self, delivery: Delivery, reason: str) -> None:
        """Keep what nobody takes where a person can look at it."""
        PARKED.labels(kind_of(delivery.target)).inc()
        log.error("delivery %s for %s is parked: %s", delivery.delivery_id, delivery.target, reason)
        record = encode(delivery)
        if len(record) > RECORD_BYTES_MAX:
            reason = f"{reason}; {len(delivery.payload)} bytes of payload are not kept"
            record = encode(msgspec.structs.replace(delivery, payload=b""))
        await self._producer.persist(self._names.undeliverable, record, headers=(("reason", reason.encode()),))
        self._happened(delivery, Happening.REFUSED, reason)

    def _retried(self, delivery: Delivery, error: str, again: Delivery) -> None:
        # What was put off was not tried.
        if error:
            self._happened(delivery, Happening.RETRIED, error, again.due_ms)

    def _happened(self, delivery: Delivery, what: Happening, error: str = "", due_ms: int = 0) -> None:
        self._tell(Happened(delivery, what, _now_ms(), error, due_ms))

    @contextlib.asynccontextmanager
    async def _turn(self, delivery: Delivery) -> AsyncIterator[None]:
        """Deliveries of one message group to a FIFO queue or topic are tried one after the other, in the order they come."""
        group = _group_of(delivery)
        if group is None:
            yield
            return
        lock, waiting = self._groups.get(group, (asyncio.Lock(), 0))
        self._groups[group] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._groups[group]
            if waiting == 1:
                del self._groups[group]
            else:
                self._groups[group] = lock, waiting - 1


def _group_of(delivery: Delivery) -> tuple[str, str] | None:
    parameters = delivery.parameters
    if not isinstance(parameters, QueueParameters | TopicParameters) or parameters.group_id is None:
        return None
    return (delivery.target, parameters.group_id) if delivery.target.endswith(".fifo") else None


def _is_in_order(delivery: Delivery) -> bool:
    """Of a FIFO topic to a FIFO queue: AWS promises that one message of a group never overtakes another."""
    return delivery.behalf is Behalf.SNS and _group_of(delivery) is not None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
