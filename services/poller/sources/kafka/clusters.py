"""Which Kafka cluster a mapping reads."""

from __future__ import annotations

from shared.domain.errors import ConfigurationError
from shared.domain.mappings import EventSourceMapping
from shared.domain.mappings.kafka import BUILT_IN_CLUSTER, kafka_cluster
from shared.events.internal import internal_use
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster


def cluster_of(mapping: EventSourceMapping, settings: Settings) -> KafkaCluster:
    """Raises ConfigurationError for an ARN whose cluster no setting names, and for what is the cluster's own."""
    refusal = internal_use(mapping, settings)
    if refusal is not None:
        raise ConfigurationError(f"PROBLEM: {refusal}")
    if mapping.source_arn is None:
        return settings.kafka_at(",".join(mapping.bootstrap_servers))
    name = kafka_cluster(mapping.source_arn)
    if name == BUILT_IN_CLUSTER:
        return settings.kafka
    if name in settings.events.kafka_clusters:
        return settings.events.kafka_clusters[name]
    raise ConfigurationError(f"PROBLEM: No cluster is known for {mapping.source_arn}.")
