"""What of the cluster's own Kafka is no event source of anybody's: its events, outcomes and logs are others' affairs."""

from __future__ import annotations

from shared.domain.destinations import TOPIC_SCHEME
from shared.domain.mappings import EventSourceMapping
from shared.domain.mappings.kafka import BUILT_IN_CLUSTER, kafka_cluster
from shared.settings import Settings


def is_internal(topic_or_group: str, settings: Settings) -> bool:
    """Of the cluster that lambdad runs on: its topics, the groups that read them, and Kafka's own topics."""
    return topic_or_group.startswith((f"{settings.events.topic_prefix}.", "__"))


def internal_use(mapping: EventSourceMapping, settings: Settings) -> str | None:
    """What a mapping may not use, in words for its owner; None when there is nothing."""
    if not _reads_our_kafka(mapping, settings):
        return None
    for topic in mapping.topics:
        if is_internal(topic, settings):
            return f"Topic {topic} is internal to the cluster and cannot be an event source."
    if is_internal(mapping.consumer_group_id, settings):
        return f"Consumer group {mapping.consumer_group_id} is internal to the cluster and cannot be used."
    target = mapping.on_failure_arn or ""
    if target.startswith(TOPIC_SCHEME) and is_internal(target.removeprefix(TOPIC_SCHEME), settings):
        return f"Topic {target.removeprefix(TOPIC_SCHEME)} is internal to the cluster and cannot be a destination."
    return None


def _reads_our_kafka(mapping: EventSourceMapping, settings: Settings) -> bool:
    if mapping.source_arn is None:
        return bool(mapping.bootstrap_servers) and settings.kafka.shares(",".join(mapping.bootstrap_servers))
    name = kafka_cluster(mapping.source_arn)
    named = settings.events.kafka_clusters.get(name or "")
    return name == BUILT_IN_CLUSTER or (named is not None and settings.kafka.shares(named.bootstrap_servers))
