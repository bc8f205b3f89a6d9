"""Each service's module is applied, found unchanged, perhaps changed and found unchanged again, destroyed."""

from __future__ import annotations

import asyncio
import json
import uuid
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


@pytest.fixture
def prefix() -> str:
    return f"tf-{uuid.uuid4().hex[:8]}"


async def make_topic(cluster: Cluster, name: str) -> None:
    admin = AIOKafkaAdminClient(**client_arguments(cluster.kafka))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


def test_functions_and_all_that_is_around_them(cluster: Cluster, client: Any, prefix: str, tmp_path: Path) -> None:
    asyncio.run(make_topic(cluster, f"{prefix}-topic"))
    code = tmp_path / "code.zip"
    code.write_bytes(zip_of({"index.py": CODE.format(1)}))
    (tmp_path / "layer.zip").write_bytes(zip_of({"python/shared.py": "NAME = 'a layer'\n"}))
    files = {"code": str(code), "layer": str(tmp_path / "layer.zip")}
    kafka = cluster.environment["KAFKA_BOOTSTRAP_SERVERS"]
    terraform = Terraform(tmp_path, cluster, "lambda", prefix, {"kafka": kafka, "runtime": PYTHON, **files})
    terraform.run("init", "-input=false")
    first = terraform.apply()
    assert first["answer"] == {"hello": "terraform", "release": 1, "shared": "a layer"}
    assert first["read"] == {"memory": 256, "layer": 1, "version": "1"}
    assert first["caller"] == "arn:aws:iam::000000000000:root"
    assert first["url"].startswith("http")
    code.write_bytes(zip_of({"index.py": CODE.format(2)}))
    terraform.apply(released="true")
    weights = client.get_alias(FunctionName=f"{prefix}-main", Name="live")["RoutingConfig"]["AdditionalVersionWeights"]
    assert weights == {"2": 0.25}
    terraform.destroy()
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=f"{prefix}-main")
    assert client.list_event_source_mappings(FunctionName=f"{prefix}-main")["EventSourceMappings"] == []
    assert client.list_layer_versions(LayerName=f"{prefix}-layer")["LayerVersions"] == []


def test_queues_with_their_policies_and_dead_letters(cluster: Cluster, prefix: str, tmp_path: Path) -> None:
    sqs = cluster.client("sqs")
    terraform = Terraform(tmp_path, cluster, "sqs", prefix)
    terraform.run("init", "-input=false")
    first = terraform.apply()
    assert first["arn"] == f"arn:aws:sqs:us-east-1:000000000000:{prefix}-main"
    assert first["url"] == f"{cluster.endpoint}/000000000000/{prefix}-main"
    found = sqs.get_queue_attributes(QueueUrl=first["url"], AttributeNames=["All"])["Attributes"]
    assert (found["DelaySeconds"], found["VisibilityTimeout"], found["MaximumMessageSize"]) == ("5", "60", "2048")
    assert json.loads(found["Policy"])["Statement"][0]["Sid"] == "senders"
    assert sqs.list_queue_tags(QueueUrl=first["url"])["Tags"] == {"team": "queues"}
    terraform.destroy()
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=prefix)


def test_schedules_and_their_group(cluster: Cluster, prefix: str, tmp_path: Path) -> None:
    scheduler = cluster.client("scheduler")
    terraform = Terraform(tmp_path, cluster, "scheduler", prefix)
    terraform.run("init", "-input=false")
    first = terraform.apply()
    place = "arn:aws:scheduler:us-east-1:000000000000:schedule"
    assert first["recurring"] == f"{place}/{prefix}-nightly/{prefix}-recurring"
    assert first["once"].startswith(f"{place}/default/{prefix}")
    terraform.apply(released="true")
    found = scheduler.get_schedule(GroupName=f"{prefix}-nightly", Name=f"{prefix}-recurring")
    assert (found["ScheduleExpression"], found["State"]) == ("cron(0 4 ? * 6L *)", "DISABLED")
    terraform.destroy()
    assert scheduler.list_schedules(NamePrefix=prefix)["Schedules"] == []
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule_group(Name=f"{prefix}-nightly")


def test_event_buses_with_rules_targets_and_archives(cluster: Cluster, prefix: str, tmp_path: Path) -> None:
    events = cluster.client("events")
    terraform = Terraform(tmp_path, cluster, "events", prefix)
    terraform.run("init", "-input=false")
    first = terraform.apply()
    assert first["bus"] == f"arn:aws:events:us-east-1:000000000000:event-bus/{prefix}-orders"
    found = events.list_targets_by_rule(Rule=f"{prefix}-large", EventBusName=f"{prefix}-orders")["Targets"]
    assert [target["Id"] for target in found] == ["audit", "fifo", "queue"]
    assert found[2]["InputTransformer"]["InputPathsMap"] == {"order": "$.detail.id"}
    assert events.describe_archive(ArchiveName=f"{prefix}-orders")["RetentionDays"] == 7
    assert events.describe_rule(Name=f"{prefix}-nightly")["State"] == "DISABLED"
    terraform.destroy()
    assert events.list_event_buses(NamePrefix=prefix)["EventBuses"] == []
    assert events.list_archives(NamePrefix=prefix)["Archives"] == []


def test_topics_with_their_policies_and_subscriptions(cluster: Cluster, prefix: str, tmp_path: Path) -> None:
    sns = cluster.client("sns")
    terraform = Terraform(tmp_path, cluster, "sns", prefix)
    terraform.run("init", "-input=false")
    topic = terraform.apply()["topic"]
    terraform.apply(least="200")
    subscriptions = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    [large] = [one["SubscriptionArn"] for one in subscriptions if one["Protocol"] == "sqs"]
    policy = sns.get_subscription_attributes(SubscriptionArn=large)["Attributes"]["FilterPolicy"]
    assert json.loads(policy) == {"amount": [{"numeric": [">", 200]}]}
    terraform.destroy()
    with pytest.raises(sns.exceptions.NotFoundException):
        sns.get_topic_attributes(TopicArn=topic)
