"""The event topics: their names, their configuration, and their creation at start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from shared.domain.errors import LambdadError
from shared.events.kafka import client_arguments
from shared.events.records import RECORD_BYTES_MAX
from shared.settings import EventSettings, Settings

log = logging.getLogger("lambdad.events.topics")

START_TIMEOUT_S = 60.0
ADMIN_TIMEOUT_MS = 10_000
POLL_S = 0.1
RETENTION_BYTES = "retention.bytes"
DAY_MS = 24 * 3_600 * 1_000
WEEK_MS = 7 * DAY_MS
LEDGER_MS = 2 * DAY_MS
"""How long Postgres may be away without a gap in the ledger."""
SEGMENT_BYTES = 128 * 1024 * 1024
SEGMENT_BYTES_MIN = 1024 * 1024
SEGMENTS_KEPT = 4
"""Of a topic that is bounded in bytes: whole segments are removed, so the bound is kept as exactly as a segment is small."""


class EventsUnavailableError(LambdadError):
    """Kafka could not be brought to serve the event topics in time."""


class TopicNames(msgspec.Struct, frozen=True):
    """Names of every topic that the event path uses. delays_s: the constant delays that have a tier topic each."""

    prefix: str
    delays_s: tuple[int, ...]

    @classmethod
    def of(cls, settings: EventSettings) -> TopicNames:
        delays = {*settings.retry_delays_s, *settings.backoff_delays_s}
        return cls(settings.topic_prefix, tuple(sorted(delays)))

    @property
    def asynchronous(self) -> str:
        return f"{self.prefix}.async"

    @property
    def outcomes(self) -> str:
        return f"{self.prefix}.outcomes"

    @property
    def deliveries(self) -> str:
        """What is to be handed to a queue, topic, function, bus, bucket or address, and is not there yet."""
        return f"{self.prefix}.deliveries"

    @property
    def events(self) -> str:
        """What was put on event buses and has not been seen by their rules yet."""
        return f"{self.prefix}.events"

    @property
    def sns(self) -> str:
        """What was published to topics of SNS, until it is fanned out."""
        return f"{self.prefix}.sns"

    @property
    def sns_fifo(self) -> str:
        """The same of FIFO topics: what waits there for its group's turn is in nobody else's way."""
        return f"{self.prefix}.sns.fifo"

    @property
    def undeliverable(self) -> str:
        """What no destination would take after every retry: kept without limit, for a person to look at."""
        return f"{self.prefix}.undeliverable"

    @property
    def logs(self) -> str:
        """What functions log, for a week and within a bound of bytes: docs/log-topic.md."""
        return f"{self.prefix}.logs"

    @property
    def ledger(self) -> str:
        """What became of events, in batches, on its way to the ledger."""
        return f"{self.prefix}.ledger"

    @property
    def cancellations(self) -> str:
        """Ids of events that are not to be run any more: every poller reads all of it."""
        return f"{self.prefix}.cancellations"

    def delay(self, seconds: int) -> str:
        return f"{self.prefix}.delay.{seconds}s"

    def delays(self) -> dict[str, int]:
        """Topic name to delay in seconds, of every tier."""
        return {self.delay(seconds): seconds for seconds in self.delays_s}


def _new_topics(settings: EventSettings) -> list[NewTopic]:
    names = TopicNames.of(settings)

    def topic(name: str, partitions: int, *, retention_ms: int = WEEK_MS, bytes_max: int | None = None) -> NewTopic:
        """bytes_max: of the whole topic, with the segments that are still written to."""
        segment, bounds = SEGMENT_BYTES, {}
        if bytes_max is not None:
            segment = max(SEGMENT_BYTES_MIN, min(SEGMENT_BYTES, bytes_max // partitions // SEGMENTS_KEPT))
            bounds = {RETENTION_BYTES: str(max(segment, bytes_max // partitions - segment))}
        return NewTopic(
            name,
            partitions,
            settings.replication_factor,
            topic_configs={
                "cleanup.policy": "delete",
                "max.message.bytes": str(RECORD_BYTES_MAX + 1024 * 1024),
                "retention.ms": str(retention_ms),
                "segment.bytes": str(segment),
                "min.insync.replicas": str(max(1, settings.replication_factor - 1)),
                **bounds,
            },
        )

    return [
        topic(names.asynchronous, settings.async_partitions),
        topic(names.outcomes, settings.async_partitions),
        topic(names.deliveries, settings.async_partitions),
        topic(names.events, settings.async_partitions),
        topic(names.sns, settings.async_partitions),
        topic(names.sns_fifo, settings.async_partitions),
        topic(names.undeliverable, 1, retention_ms=-1),
        topic(names.logs, settings.async_partitions, bytes_max=settings.log_bytes_max),
        topic(names.ledger, settings.async_partitions, retention_ms=LEDGER_MS),
        topic(names.cancellations, 1, retention_ms=DAY_MS),
        # One partition a tier: order in it is the order of due times, whoever wrote.
        *(topic(name, 1) for name in names.delays()),
    ]


async def ensure_topics(settings: Settings, only: Collection[str] | None = None, *, timeout_s: float = START_TIMEOUT_S) -> None:
    """Create the topics that are missing and wait until each has leaders and groups have a coordinator. only: these of them.

    Safe to call from any number of processes at once. Raises EventsUnavailableError when Kafka does not get there in time.
    """
    problem = "no answer"
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    await _ensure_once(settings, only)
                    return
                except (KafkaError, OSError) as error:
                    problem = repr(error)
                    await asyncio.sleep(0.5)
    except TimeoutError:
        raise EventsUnavailableError(f"Kafka at {settings.kafka_bootstrap_servers} is not ready: {problem}") from None


async def _ensure_once(settings: Settings, only: Collection[str] | None) -> None:
    admin = AIOKafkaAdminClient(
        **client_arguments(settings.kafka), client_id="lambdad-topics", request_timeout_ms=ADMIN_TIMEOUT_MS
    )
    await admin.start()
    try:
        topics = [topic for topic in _new_topics(settings.events) if only is None or topic.name in only]
        existing = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in existing]
        if missing:
            response = await admin.create_topics(missing)
            for name, code, *_ in response.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    raise error(f"topic {name} could not be created")
            log.info("created topics %s", ", ".join(topic.name for topic in missing))
        await _bound(admin, [topic for topic in topics if topic.name in existing and RETENTION_BYTES in topic.topic_configs])
        await _wait_for_leaders(admin, [topic.name for topic in topics])
        await admin.find_coordinator(f"{settings.events.topic_prefix}.async")
    finally:
        await admin.close()


async def _bound(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    """Topics that an earlier version or other settings made get the bound that the settings have now."""
    for topic in topics:
        [described] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
        [(_, _, _, _, entries)] = described.resources
        if {entry[0]: entry[1] for entry in entries}[RETENTION_BYTES] == topic.topic_configs[RETENTION_BYTES]:
            continue
        [altered] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, topic.topic_configs)])
        for code, message, *_ in altered.resources:
            if code:
                raise for_code(code)(f"topic {topic.name} could not be bounded: {message}")
        log.info("topic %s is bounded to %s bytes a partition", topic.name, topic.topic_configs[RETENTION_BYTES])


async def _wait_for_leaders(admin: AIOKafkaAdminClient, names: Iterable[str]) -> None:
    """Until every partition of the topics has a leader. The caller holds the deadline."""
    names = list(names)
    while True:
        described = await admin.describe_topics(names)
        if all(t["error_code"] == 0 and all(p["leader"] >= 0 for p in t["partitions"]) for t in described):
            return
        await asyncio.sleep(POLL_S)
