"""EventBridge through the front door: what is put reaches a function, a queue and a topic, is archived and replayed."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest

from tests.conftest import Cluster
from tests.e2e.conftest import MakeFunction
from tests.e2e.test_aws_cli import AWS, aws
from tests.support import wait_until

PLACE = "us-east-1:000000000000"


@pytest.fixture(scope="module")
def events(cluster: Cluster) -> Any:
    return cluster.client("events")


@pytest.fixture(scope="module")
def sqs(cluster: Cluster) -> Any:
    return cluster.client("sqs")


def receive(sqs: Any, name: str, count: int) -> list[Any]:
    """So many messages of a queue, as JSON, taken away from it: on a slow machine they would come again before the test ends."""
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    found: list[Any] = []

    def more() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(found) >= count

    wait_until(more, what=f"{count} messages in {name}")
    return found


def test_an_event_reaches_a_function_a_queue_and_a_topic_and_is_replayed(
    client: Any, events: Any, sqs: Any, cluster: Cluster, make_function: MakeFunction
) -> None:
    tag = uuid.uuid4().hex[:8]
    bus, direct, told, ran = (f"{kind}-{tag}" for kind in ("bus", "direct", "told", "ran"))
    for name in (direct, told, ran):
        sqs.create_queue(QueueName=name)
    topic = cluster.client("sns").create_topic(Name=f"topic-{tag}")["TopicArn"]
    cluster.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{PLACE}:{told}")
    function = make_function("def handler(event, context):\n    return event\n")
    client.put_function_event_invoke_config(
        FunctionName=function, DestinationConfig={"OnSuccess": {"Destination": f"arn:aws:sqs:{PLACE}:{ran}"}}
    )
    source = events.create_event_bus(Name=bus)["EventBusArn"]
    events.put_rule(Name="large", EventBusName=bus, EventPattern='{"detail": {"total": [{"numeric": [">", 100]}]}}')
    arns = [f"arn:aws:sqs:{PLACE}:{direct}", topic, f"arn:aws:lambda:{PLACE}:function:{function}"]
    targets = [{"Id": str(place), "Arn": arn} for place, arn in enumerate(arns)]
    events.put_targets(Rule="large", EventBusName=bus, Targets=targets)
    archive = events.create_archive(ArchiveName=f"archive-{tag}", EventSourceArn=source)["ArchiveArn"]
    details = [json.dumps({"total": total}) for total in (50, 200)]
    entries = [{"Source": "shop", "DetailType": "order", "Detail": detail, "EventBusName": bus} for detail in details]
    _, large = (entry["EventId"] for entry in events.put_events(Entries=entries)["Entries"])
    [event] = receive(sqs, direct, 1)
    assert (event["id"], event["detail"]) == (large, {"total": 200})
    [notification] = receive(sqs, told, 1)
    assert json.loads(notification["Message"]) == event
    [record] = receive(sqs, ran, 1)
    assert record["requestPayload"] == record["responsePayload"] == event
    wait_until(lambda: events.describe_archive(ArchiveName=f"archive-{tag}")["EventCount"] == 2)
    span = {"EventStartTime": time.time() - 60, "EventEndTime": time.time() + 60}
    events.start_replay(ReplayName=f"again-{tag}", EventSourceArn=archive, Destination={"Arn": source}, **span)
    [again] = receive(sqs, direct, 1)
    assert again == {**event, "replay-name": f"again-{tag}"}
    wait_until(lambda: events.describe_replay(ReplayName=f"again-{tag}")["State"] == "COMPLETED")


def test_the_result_of_a_function_may_go_to_a_bus(client: Any, events: Any, sqs: Any, make_function: MakeFunction) -> None:
    tag = uuid.uuid4().hex[:8]
    queue = f"results-{tag}"
    sqs.create_queue(QueueName=queue)
    bus = events.create_event_bus(Name=f"results-{tag}")["EventBusArn"]
    events.put_rule(Name="all", EventBusName=bus, EventPattern='{"source": ["lambda"]}')
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "q", "Arn": f"arn:aws:sqs:{PLACE}:{queue}"}])
    function = make_function("def handler(event, context):\n    return {'doubled': event['n'] * 2}\n")
    client.put_function_event_invoke_config(FunctionName=function, DestinationConfig={"OnSuccess": {"Destination": bus}})
    client.invoke(FunctionName=function, InvocationType="Event", Payload=b'{"n": 21}')
    [event] = receive(sqs, queue, 1)
    assert event["detail-type"] == "Lambda Function Invocation Result - Success"
    assert event["detail"]["responsePayload"] == {"doubled": 42}
    assert event["resources"][0] == bus


@pytest.mark.skipif(AWS is None, reason="needs the AWS CLI on PATH: pip install awscli")
def test_the_aws_cli_makes_a_rule_and_puts_an_event(cluster: Cluster, sqs: Any) -> None:
    tag = uuid.uuid4().hex[:8]
    sqs.create_queue(QueueName=f"cli-{tag}")

    def call(operation: str, *words: str) -> Any:
        return aws(cluster, operation, *words, service="events")

    call("put-rule", "--name", f"cli-{tag}", "--event-pattern", json.dumps({"source": [f"cli-{tag}"]}))
    call("put-targets", "--rule", f"cli-{tag}", "--targets", f"Id=q,Arn=arn:aws:sqs:{PLACE}:cli-{tag},InputPath=$.detail")
    entry = {"Source": f"cli-{tag}", "DetailType": "t", "Detail": '{"n": 1}'}
    assert call("put-events", "--entries", json.dumps([entry]))["FailedEntryCount"] == 0
    assert receive(sqs, f"cli-{tag}", 1) == [{"n": 1}]
    assert call("list-rule-names-by-target", "--target-arn", f"arn:aws:sqs:{PLACE}:cli-{tag}")["RuleNames"] == [f"cli-{tag}"]
