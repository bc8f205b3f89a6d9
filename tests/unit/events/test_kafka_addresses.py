"""Where pollers may be sent by whoever may create a mapping."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.events.kafka_addresses import literal_refusal, refusal_of
from shared.settings import Settings


def settings(**events: object) -> Settings:
    return Settings.model_validate(
        {
            "redis_url": "redis://:pw@127.0.0.1:6380/0",
            "queues_redis_url": "redis://10.0.0.7:6381/0",
            "database_url": "postgresql://u:p@localhost:5433/d",
            "events": events,
        }
    )


async def refused(server: str, **events: object) -> bool:
    found = await refusal_of([server], settings(**events))
    assert found == literal_refusal([server], settings(**events)), "the endpoint and the poller do not agree"
    assert found is None or found.startswith(f"{server} is not an address")
    return found is not None


@pytest.mark.parametrize("server", ["127.0.0.1:6380", "localhost:6380", "127.0.0.9:5433", "10.0.0.7:6381", "[::1]:5433"])
async def test_the_clusters_own_engines_are_closed_whatever_is_allowed(server: str) -> None:
    assert await refused(server)
    assert await refused(server, kafka_networks_allowed=["0.0.0.0/0", "::/0"], kafka_networks_denied=[])


@pytest.mark.parametrize(
    "server", ["169.254.169.254:80", "[fe80::1]:9092", "[fd00:ec2::254]:80", "[::ffff:169.254.169.254]:80"]
)
async def test_metadata_and_link_local_addresses_are_closed_by_default(server: str) -> None:
    assert await refused(server)
    assert not await refused(server, kafka_networks_denied=[])


@pytest.mark.parametrize("server", ["127.0.0.1:9092", "10.0.0.7:9092", "192.0.2.1:9092", "[2001:db8::1]:9092"])
async def test_everything_else_is_open_as_on_aws(server: str) -> None:
    assert not await refused(server)


async def test_an_operator_closes_networks_or_opens_some_alone() -> None:
    assert await refused("10.1.2.3:9092", kafka_networks_denied=["10.0.0.0/8"])
    assert not await refused("10.1.2.3:9092", kafka_networks_allowed=["10.1.0.0/16"])
    assert await refused("10.2.2.3:9092", kafka_networks_allowed=["10.1.0.0/16"])
    assert await refused("10.1.2.3:9092", kafka_networks_allowed=["10.1.0.0/16"], kafka_networks_denied=["10.1.2.0/24"])
    with pytest.raises(ValidationError):
        settings(kafka_networks_allowed=["ten"])


def test_what_the_operator_names_is_open() -> None:
    named = {"mine": "169.254.7.7:9092"}
    assert literal_refusal(["169.254.7.7:9092"], settings(kafka_clusters=named)) is None
    assert literal_refusal(["169.254.7.8:9092"], settings(kafka_clusters=named)) is not None


async def test_a_name_is_judged_by_what_it_leads_to() -> None:
    assert await refusal_of(["localhost:9092"], settings(kafka_networks_denied=["127.0.0.0/8", "::1/128"]))
    assert literal_refusal(["somewhere.example:9092"], settings(kafka_networks_denied=["0.0.0.0/0"])) is None
