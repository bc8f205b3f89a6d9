"""Modules of all services are applied, found unchanged, changed and found unchanged again, and destroyed: each test looks at one."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.events.kafka import client_arguments
from tests.conformance.tools.terraform_modules import NEEDS, Terraform
from tests.conftest import Cluster
from tests.support import PYTHON, zip_of

CODE = "import shared\n\ndef handler(event, context):\n    return {{'hello': event.get('name'), 'release': {}, 'shared': shared.NAME}}\n"
pytestmark = NEEDS


@dataclass(frozen=True)
class Applied:
    """prefix: of every name. outputs: by service. code: the function's package."""

    terraform: Terraform
    prefix: str
    code: Path
    outputs: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def first(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Applied:
    """Everything as it is applied at first; a plan after it is empty."""
    prefix, folder = f"tf-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("terraform")
    asyncio.run(make_topic(cluster, f"{prefix}-topic"))
    for name in ("there", "there-dead"):
        cluster.client("sqs").create_queue(QueueName=f"{prefix}-{name}")
    code, layer = folder / "code.zip", folder / "layer.zip"
    code.write_bytes(zip_of({"index.py": CODE.format(1)}))
    layer.write_bytes(zip_of({"python/shared.py": "NAME = 'a layer'\n"}))
    kafka = cluster.environment["KAFKA_BOOTSTRAP_SERVERS"]
    function = {"code": str(code), "layer": str(layer), "kafka": kafka, "runtime": PYTHON}
    terraform = Terraform(folder, cluster, {"prefix": prefix, "lambda": json.dumps(function)})
    terraform.run("init", "-input=false")
    return Applied(terraform, prefix, code, terraform.apply())


@pytest.fixture(scope="module")
def released(first: Applied) -> Applied:
    """The same with what changes; a plan after it is empty again."""
    first.code.write_bytes(zip_of({"index.py": CODE.format(2)}))
    return Applied(first.terraform, first.prefix, first.code, first.terraform.apply(released="true"))


@pytest.fixture(scope="module")
def destroyed(released: Applied) -> str:
    """What all names began with."""
    released.terraform.destroy()
    return released.prefix


async def make_topic(cluster: Cluster, name: str) -> None:
    admin = AIOKafkaAdminClient(**client_arguments(cluster.kafka))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


def test_a_function_and_all_that_is_around_it_is_made(first: Applied) -> None:
    made = first.outputs["lambda"]
    assert made["answer"] == {"hello": "terraform", "release": 1, "shared": "a layer"}
    assert made["read"] == {"memory": 256, "layer": 1, "version": "1"}
    assert made["caller"] == "arn:aws:iam::000000000000:root"
    assert made["url"].startswith("http")


def test_queues_are_made_with_their_attributes_and_tags(first: Applied, cluster: Cluster) -> None:
    sqs, made = cluster.client("sqs"), first.outputs["sqs"]
    assert made["arn"] == f"arn:aws:sqs:us-east-1:000000000000:{first.prefix}-main"
    assert made["url"] == f"{cluster.endpoint}/000000000000/{first.prefix}-main"
    found = sqs.get_queue_attributes(QueueUrl=made["url"], AttributeNames=["All"])["Attributes"]
    assert (found["DelaySeconds"], found["VisibilityTimeout"], found["MaximumMessageSize"]) == ("5", "60", "2048")
    assert sqs.list_queue_tags(QueueUrl=made["url"])["Tags"] == {"team": "queues"}


def test_a_queue_gets_its_policy_and_its_dead_letters(first: Applied, cluster: Cluster) -> None:
    found = attributes(cluster, f"{first.prefix}-there")
    assert json.loads(found["Policy"])["Statement"][0]["Sid"] == "senders"
    dead = f"arn:aws:sqs:us-east-1:000000000000:{first.prefix}-there-dead"
    assert json.loads(found["RedrivePolicy"]) == {"deadLetterTargetArn": dead, "maxReceiveCount": 4}
    allowed = json.loads(attributes(cluster, f"{first.prefix}-there-dead")["RedriveAllowPolicy"])
    assert allowed == {"redrivePermission": "byQueue", "sourceQueueArns": [found["QueueArn"]]}


def test_schedules_are_made_in_their_groups(first: Applied) -> None:
    made, place = first.outputs["scheduler"], "arn:aws:scheduler:us-east-1:000000000000:schedule"
    assert made["recurring"] == f"{place}/{first.prefix}-nightly/{first.prefix}-recurring"
    assert made["once"].startswith(f"{place}/default/{first.prefix}")


def test_event_buses_are_made_with_rules_targets_and_archives(first: Applied, cluster: Cluster) -> None:
    events, bus = cluster.client("events"), f"{first.prefix}-orders"
    assert first.outputs["events"]["bus"] == f"arn:aws:events:us-east-1:000000000000:event-bus/{bus}"
    found = events.list_targets_by_rule(Rule=f"{first.prefix}-large", EventBusName=bus)["Targets"]
    assert [target["Id"] for target in found] == ["audit", "fifo", "queue"]
    assert found[2]["InputTransformer"]["InputPathsMap"] == {"order": "$.detail.id"}
    assert events.describe_archive(ArchiveName=bus)["RetentionDays"] == 7
    assert events.describe_rule(Name=f"{first.prefix}-nightly")["State"] == "DISABLED"


def test_topics_are_made_with_their_policies_and_subscriptions(first: Applied, cluster: Cluster) -> None:
    assert filter_policy(cluster, first.outputs["sns"]["topic"]) == {"amount": [{"numeric": [">", 100]}]}


def test_the_next_version_gets_its_share_of_the_traffic(released: Applied, client: Any) -> None:
    weights = client.get_alias(FunctionName=f"{released.prefix}-main", Name="live")["RoutingConfig"]["AdditionalVersionWeights"]
    assert weights == {"2": 0.25}


def test_a_schedule_is_changed_in_place(released: Applied, cluster: Cluster) -> None:
    scheduler, prefix = cluster.client("scheduler"), released.prefix
    found = scheduler.get_schedule(GroupName=f"{prefix}-nightly", Name=f"{prefix}-recurring")
    assert (found["ScheduleExpression"], found["State"]) == ("cron(0 4 ? * 6L *)", "DISABLED")


def test_a_subscriptions_filter_is_changed_in_place(released: Applied, cluster: Cluster) -> None:
    assert filter_policy(cluster, released.outputs["sns"]["topic"]) == {"amount": [{"numeric": [">", 200]}]}


def test_nothing_is_left_of_a_destroyed_function(destroyed: str, client: Any) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=f"{destroyed}-main")
    assert client.list_event_source_mappings(FunctionName=f"{destroyed}-main")["EventSourceMappings"] == []
    assert client.list_layer_versions(LayerName=f"{destroyed}-layer")["LayerVersions"] == []


def test_nothing_is_left_of_destroyed_queues_and_what_was_attached(destroyed: str, cluster: Cluster) -> None:
    left = cluster.client("sqs").list_queues(QueueNamePrefix=destroyed)["QueueUrls"]
    assert {url.rpartition("/")[2] for url in left} == {f"{destroyed}-there", f"{destroyed}-there-dead"}
    assert not {"Policy", "RedrivePolicy"} & set(attributes(cluster, f"{destroyed}-there"))
    assert "RedriveAllowPolicy" not in attributes(cluster, f"{destroyed}-there-dead")


def test_nothing_is_left_of_destroyed_schedules(destroyed: str, cluster: Cluster) -> None:
    scheduler = cluster.client("scheduler")
    assert scheduler.list_schedules(NamePrefix=destroyed)["Schedules"] == []
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule_group(Name=f"{destroyed}-nightly")


def test_nothing_is_left_of_destroyed_event_buses(destroyed: str, cluster: Cluster) -> None:
    events = cluster.client("events")
    assert events.list_event_buses(NamePrefix=destroyed)["EventBuses"] == []
    assert events.list_archives(NamePrefix=destroyed)["Archives"] == []
    assert events.list_rules(NamePrefix=destroyed)["Rules"] == []


def test_nothing_is_left_of_destroyed_topics(destroyed: str, cluster: Cluster) -> None:
    sns = cluster.client("sns")
    with pytest.raises(sns.exceptions.NotFoundException):
        sns.get_topic_attributes(TopicArn=f"arn:aws:sns:us-east-1:000000000000:{destroyed}-orders")


def attributes(cluster: Cluster, queue: str) -> dict[str, str]:
    sqs = cluster.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found: dict[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found


def filter_policy(cluster: Cluster, topic: str) -> dict[str, Any]:
    """Of the subscription of a queue."""
    sns = cluster.client("sns")
    found = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    [queue] = [one["SubscriptionArn"] for one in found if one["Protocol"] == "sqs"]
    policy: dict[str, Any] = json.loads(sns.get_subscription_attributes(SubscriptionArn=queue)["Attributes"]["FilterPolicy"])
    return policy
