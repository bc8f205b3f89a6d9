"""What every client of a Kafka cluster is made with: the one place that turns an address and its credentials into arguments."""

from __future__ import annotations

import ssl
from typing import Any

from shared.settings.kafka import KafkaCluster


def client_arguments(cluster: KafkaCluster) -> dict[str, Any]:
    """For aiokafka's producer, consumer and admin client. Raises OSError when the file of authorities cannot be read."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": cluster.bootstrap_servers,
        "security_protocol": cluster.security_protocol,
    }
    if cluster.authenticates:
        arguments |= {
            "sasl_mechanism": cluster.sasl_mechanism,
            "sasl_plain_username": cluster.username,
            "sasl_plain_password": cluster.password.get_secret_value(),
        }
    if cluster.security_protocol.endswith("SSL"):
        arguments["ssl_context"] = ssl.create_default_context(cafile=cluster.ca_file)
    return arguments
