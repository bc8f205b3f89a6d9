"""How a Kafka is named, with what one client of it is made, and what of the cluster's own nobody may read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.poller.sources.kafka.clusters import cluster_of
from shared.domain.errors import ConfigurationError
from shared.domain.mappings import SourceKind
from shared.events.kafka import client_arguments
from shared.settings import Settings
from shared.settings.kafka import VARIABLES, KafkaCluster
from tests.integration.events.parts import MSK, mapping_of

SECRETIVE = {
    "KAFKA_BOOTSTRAP_SERVERS": "b-1:9092,b-2:9092",
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "me",
    "KAFKA_SASL_PASSWORD": "secret",
}


def test_a_cluster_is_told_by_variables_and_tells_them() -> None:
    cluster = KafkaCluster.of_variables(SECRETIVE)
    assert cluster.variables() == SECRETIVE
    assert KafkaCluster.of_variables({f"LAMBDAD_{name}": value for name, value in SECRETIVE.items()}, "LAMBDAD_") == cluster
    assert set(VARIABLES.values()) >= set(SECRETIVE)
    assert "secret" not in repr(cluster)


def test_services_take_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRETIVE, "KAFKA_SSL_CA_FILE": ""}.items():
        monkeypatch.setenv(name, value)
    assert Settings().kafka == KafkaCluster.of_variables(SECRETIVE)


def test_a_client_is_made_with_the_credentials() -> None:
    assert client_arguments(KafkaCluster.of_variables(SECRETIVE)) == {
        "bootstrap_servers": "b-1:9092,b-2:9092",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": "secret",
    }


def test_certificates_are_checked_against_the_named_authorities(tmp_path: Path) -> None:
    encrypted = KafkaCluster(bootstrap_servers="b:9093", security_protocol="SSL")
    assert client_arguments(encrypted)["ssl_context"].check_hostname
    with pytest.raises(OSError, match="No such file"):
        client_arguments(encrypted.model_copy(update={"ca_file": tmp_path / "missing.pem"}))


@pytest.mark.parametrize(
    "changes",
    [
        {"KAFKA_SASL_PASSWORD": ""},
        {"KAFKA_SASL_USERNAME": ""},
        {"KAFKA_SECURITY_PROTOCOL": "SSL"},
        {"KAFKA_SECURITY_PROTOCOL": "TLS"},
        {"KAFKA_SASL_MECHANISM": "GSSAPI"},
        {"KAFKA_BOOTSTRAP_SERVERS": ""},
    ],
)
def test_a_cluster_that_is_named_half_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        KafkaCluster.of_variables({**SECRETIVE, **changes})


def settings() -> Settings:
    clusters = {
        "bare": "other:9092",
        "secretive": {**KafkaCluster.of_variables(SECRETIVE).model_dump()},
        "ours": "127.0.0.1:9092",
    }
    return Settings.model_validate({"events": {"kafka_clusters": clusters}})


def test_credentials_go_to_the_clusters_that_they_are_for_and_to_no_other() -> None:
    assert settings().kafka_at("b-2:9092").username == "me"
    assert settings().kafka_at("other:9092") == KafkaCluster(bootstrap_servers="other:9092")
    for stranger in ("b-2:9092,stranger:9092", "stranger:9092", "b-2:9093"):
        assert settings().kafka_at(stranger) == KafkaCluster(bootstrap_servers=stranger)


@pytest.mark.parametrize(
    "place",
    [
        {"source_arn": MSK},
        {"source_arn": MSK.replace("/lambdad/", "/ours/")},
        {"source_arn": None, "kind": SourceKind.SELF_MANAGED_KAFKA, "bootstrap_servers": ("x:1", "localhost:9092")},
    ],
)
def test_no_mapping_reads_or_writes_what_is_the_clusters_own(place: dict[str, object]) -> None:
    """Also one that an earlier version has kept."""
    for use in (
        mapping_of("lambdad.logs", **place),
        mapping_of("__consumer_offsets", **place),
        mapping_of("orders", consumer_group_id="lambdad.outcomes", **place),
        mapping_of("orders", on_failure_arn="kafka://lambdad.async", **place),
    ):
        with pytest.raises(ConfigurationError, match="is internal to the cluster"):
            cluster_of(use, settings())
    assert cluster_of(mapping_of("lambdad-orders", on_failure_arn="kafka://failed", **place), settings())


def test_topics_of_other_clusters_may_have_any_name() -> None:
    elsewhere = mapping_of("lambdad.logs", source_arn=MSK.replace("/lambdad/", "/bare/"))
    assert cluster_of(elsewhere, settings()).bootstrap_servers == "other:9092"
