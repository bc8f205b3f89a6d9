"""Which folder reads which kind of event source: a new kind is a folder beside this file and a line in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from types import MappingProxyType

from services.poller.mapping.contract import EventSource
from services.poller.mapping.delivery import attempt_s_max
from services.poller.sources.kafka.clusters import cluster_of
from services.poller.sources.kafka.format import KafkaFormat
from services.poller.sources.kafka.source import KafkaSource
from shared.domain.mappings import EventSourceMapping, SourceKind
from shared.events.kafka_addresses import refusal_of
from shared.settings import Settings

Opener = Callable[[EventSourceMapping, Settings], EventSource]
"""Puts a mapping's source together, without any I/O. Raises ConfigurationError when the settings do not allow it."""


def kafka(mapping: EventSourceMapping, settings: Settings) -> EventSource:
    cluster = cluster_of(mapping, settings)
    judge = None
    if mapping.source_arn is None and settings.named_kafka(cluster.bootstrap_servers) is None:

        def judge(servers: Iterable[str]) -> Awaitable[str | None]:
            return refusal_of(servers, settings)

    source = KafkaSource(mapping, cluster, drain_s=attempt_s_max(settings), judge=judge)
    return EventSource(source, KafkaFormat(mapping, cluster.bootstrap_servers))


OPENERS: MappingProxyType[SourceKind, Opener] = MappingProxyType({SourceKind.MSK: kafka, SourceKind.SELF_MANAGED_KAFKA: kafka})


def opener_of(mapping: EventSourceMapping) -> Opener | None:
    """None for a kind that nothing reads yet."""
    return OPENERS.get(mapping.kind)
