"""Two regions of one running cluster: a function of the same name in each, by every way that leads to a function."""

from __future__ import annotations

import asyncio
import http.client
import json
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import pytest
import redis
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from botocore.config import Config
from botocore.exceptions import ClientError

from shared.events.kafka import client_arguments
from shared.queues import stream_key
from tests.support import PYTHON, ROLE, wait_until, zip_of

ACCOUNT, HERE, THERE = "000000000000", "us-east-1", "eu-west-1"
SOURCE = """
import base64, os
WRITTEN_FOR = {region!r}
seen = []
def handler(event, context):
    if "records" in event:
        for records in event["records"].values():
            seen.extend(base64.b64decode(record["value"]).decode() for record in records)
    return {{
        "written for": WRITTEN_FOR,
        "regions": [os.environ["AWS_REGION"], os.environ["AWS_DEFAULT_REGION"]],
        "arn": context.invoked_function_arn,
        "seen": seen,
        "keys": [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")],
    }}
"""


class Both(NamedTuple):
    """A function of this name in both regions."""

    name: str
    clients: dict[str, Any]

    def arn(self, region: str, qualifier: str = "") -> str:
        return f"arn:aws:lambda:{region}:{ACCOUNT}:function:{self.name}{qualifier}"

    def ask(self, region: str, **arguments: Any) -> dict[str, Any]:
        reply = self.clients[region].invoke(**{"FunctionName": self.name, "Payload": b"{}", **arguments})
        found: dict[str, Any] = json.loads(reply["Payload"].read())
        return found


def client_of(cluster: Any, region: str, **keys: str) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=cluster.endpoint,
        region_name=region,
        **{"aws_access_key_id": cluster.access_key_id, "aws_secret_access_key": cluster.secret_access_key, **keys},
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60, connect_timeout=5),
    )


@pytest.fixture(scope="module")
def both(cluster: Any) -> Iterator[Both]:
    found = Both(f"both-{uuid.uuid4().hex[:8]}", {region: client_of(cluster, region) for region in (HERE, THERE)})
    for region, client in found.clients.items():
        client.create_function(
            FunctionName=found.name,
            Runtime=PYTHON,
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": zip_of({"app.py": SOURCE.format(region=region)})},
        )
    for client in found.clients.values():
        client.get_waiter("function_active_v2").wait(FunctionName=found.name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    yield found
    for client in found.clients.values():
        client.delete_function(FunctionName=found.name)


def test_the_same_name_runs_what_its_region_has_and_is_told_where_it_is(cluster: Any, both: Both) -> None:
    for region in (HERE, THERE, HERE):
        told = both.ask(region)
        assert (told["written for"], told["regions"], told["arn"]) == (region, [region, region], both.arn(region))
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    own = client_of(cluster, THERE, **dict(zip(names, both.ask(THERE)["keys"], strict=True)))
    answer = own.invoke(FunctionName=both.name, Payload=b"{}")["Payload"].read()
    assert json.loads(answer)["written for"] == THERE, "a function's own credentials are good in its region"


def test_an_alias_is_one_of_its_region(both: Both) -> None:
    there = both.clients[THERE]
    there.publish_version(FunctionName=both.name)
    there.create_alias(FunctionName=both.name, Name="live", FunctionVersion="1")
    assert both.ask(THERE, Qualifier="live")["arn"] == both.arn(THERE, ":live")
    with pytest.raises(ClientError) as caught:
        both.ask(HERE, Qualifier="live")
    assert caught.value.response["Error"]["Message"] == f"Function not found: {both.arn(HERE, ':live')}"


def test_an_arn_of_another_region_and_a_region_that_there_is_not_are_refused(cluster: Any, both: Both) -> None:
    for call in (both.clients[THERE].invoke, both.clients[THERE].get_function):
        with pytest.raises(ClientError) as caught:
            call(FunctionName=both.arn(HERE))
        assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
        assert caught.value.response["Error"]["Message"] == (
            f"Functions from '{HERE}' are not reachable in this region ('{THERE}')"
        )
    for call in (client_of(cluster, "mars-north-1").invoke, client_of(cluster, "mars-north-1").get_function):
        with pytest.raises(ClientError) as caught:
            call(FunctionName=both.name)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert "Credential should be scoped to a valid region, not 'mars-north-1'" in str(caught.value)


def test_an_event_and_its_record_stay_in_their_region(cluster: Any, both: Both) -> None:
    streams = redis.Redis.from_url(cluster.environment["QUEUES_REDIS_URL"], decode_responses=True)
    queue = f"both-{uuid.uuid4().hex[:8]}"
    for region, client in both.clients.items():
        target = f"arn:aws:sqs:{region}:{ACCOUNT}:{queue}"
        client.put_function_event_invoke_config(
            FunctionName=both.name, DestinationConfig={"OnSuccess": {"Destination": target}}
        )
        client.invoke(FunctionName=both.name, InvocationType="Event", Payload=b"{}")
    for region, name in ((HERE, queue), (THERE, f"{THERE}:{queue}")):
        [(_, message)] = wait_until(lambda name=name: streams.xrange(stream_key(name)), what=f"the record in {region}")
        record = json.loads(message["body"])
        assert record["requestContext"]["functionArn"] == both.arn(region, ":$LATEST")
        assert record["responsePayload"]["written for"] == region
    streams.close()


def test_a_url_leads_to_the_function_of_its_region(cluster: Any, both: Both) -> None:
    endpoint = urlsplit(cluster.endpoint)
    for region, client in both.clients.items():
        url = client.create_function_url_config(FunctionName=both.name, AuthType="NONE")["FunctionUrl"]
        for action, more in (("lambda:InvokeFunctionUrl", {"FunctionUrlAuthType": "NONE"}), ("lambda:InvokeFunction", {})):
            client.add_permission(
                FunctionName=both.name, StatementId=action.rpartition(":")[2], Action=action, Principal="*", **more
            )
        assert f".lambda-url.{region}." in url
        connection = http.client.HTTPConnection(str(endpoint.hostname), endpoint.port, timeout=30)
        connection.request("GET", "/", headers={"Host": urlsplit(url).netloc})
        assert json.loads(connection.getresponse().read())["written for"] == region
        connection.close()


async def test_records_of_one_topic_reach_the_functions_of_both_regions(cluster: Any, both: Both) -> None:
    topic = f"both-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(**client_arguments(cluster.kafka))
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    built_in = cluster.environment["LAMBDAD_KAFKA_ARN"]
    mappings = {}
    for region, client in both.clients.items():
        # One environment at most, so that a direct call sees what the mapping's calls have left in its memory.
        client.put_function_concurrency(FunctionName=both.name, ReservedConcurrentExecutions=1)
        mappings[region] = client.create_event_source_mapping(
            FunctionName=both.name,
            EventSourceArn=built_in.replace(HERE, region),
            Topics=[topic],
            StartingPosition="TRIM_HORIZON",
        )["UUID"]
    producer = AIOKafkaProducer(**client_arguments(cluster.kafka), acks="all")
    await producer.start()
    await producer.send_and_wait(topic, b"for everybody")
    await producer.stop()

    def seen(region: str) -> list[str]:
        try:
            return list(both.ask(region)["seen"])
        except both.clients[region].exceptions.TooManyRequestsException:
            return []

    for region, client in both.clients.items():
        await asyncio.to_thread(
            wait_until, lambda region=region: seen(region) == ["for everybody"], deadline_s=60, what=f"the record in {region}"
        )
        with pytest.raises(ClientError):
            both.clients[THERE if region == HERE else HERE].get_event_source_mapping(UUID=mappings[region])
        client.delete_event_source_mapping(UUID=mappings[region])


def test_layers_lists_and_the_accounts_settings_are_of_one_region(both: Both) -> None:
    here, there = both.clients[HERE], both.clients[THERE]
    layer = there.publish_layer_version(LayerName=both.name, Content={"ZipFile": zip_of({"python/only_there.py": "X = 1\n"})})[
        "LayerVersionArn"
    ]
    with pytest.raises(ClientError) as caught:
        here.update_function_configuration(FunctionName=both.name, Layers=[layer])
    assert caught.value.response["Error"]["Message"] == (
        f"Layers are not in the same region as the function. Layers are expected to be in region {HERE}."
    )
    there.update_function_configuration(FunctionName=both.name, Layers=[layer])
    before = here.get_account_settings()
    there.create_function(
        FunctionName=f"{both.name}-more",
        Runtime=PYTHON,
        Handler="app.handler",
        Role=ROLE,
        Code={"ZipFile": zip_of({"app.py": "def handler(event, context): pass\n"})},
    )
    assert here.get_account_settings()["AccountUsage"] == before["AccountUsage"]
    names = [one["FunctionName"] for page in here.get_paginator("list_functions").paginate() for one in page["Functions"]]
    assert both.name in names
    assert f"{both.name}-more" not in names
    there.delete_function(FunctionName=f"{both.name}-more")
