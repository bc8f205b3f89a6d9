"""Schedules through the front door: made by clients, they fire."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Cluster
from tests.e2e.conftest import MakeFunction
from tests.e2e.test_aws_cli import AWS, aws
from tests.support import ROLE, wait_until

QUEUE = "arn:aws:sqs:us-east-1:000000000000:"
OFF = {"Mode": "OFF"}


@pytest.fixture(scope="module")
def scheduler(cluster: Cluster) -> Any:
    return cluster.client("scheduler")


@pytest.fixture
def queue(cluster: Cluster) -> Iterator[tuple[Any, str]]:
    """A client of SQS and the URL of a queue."""
    sqs = cluster.client("sqs")
    url = sqs.create_queue(QueueName=f"schedules-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    yield sqs, url
    sqs.delete_queue(QueueUrl=url)


def in_a_second() -> str:
    return f"at({(datetime.now(UTC) + timedelta(seconds=1)).strftime('%Y-%m-%dT%H:%M:%S')})"


def test_a_one_time_schedule_invokes_a_function_and_one_sends_to_a_queue(
    client: Any, scheduler: Any, make_function: MakeFunction, queue: tuple[Any, str]
) -> None:
    sqs, url = queue
    arn_of_queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    function = make_function("def handler(event, context):\n    return event\n")
    tag = uuid.uuid4().hex[:8]
    client.put_function_event_invoke_config(
        FunctionName=function, DestinationConfig={"OnSuccess": {"Destination": arn_of_queue}}
    )
    arn = client.get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    context = {"schedule": "<aws.scheduler.schedule-arn>", "attempt": "<aws.scheduler.attempt-number>"}
    for name, target in (("f", arn), ("q", arn_of_queue)):
        made = scheduler.create_schedule(
            Name=f"{name}-{tag}",
            ScheduleExpression=in_a_second(),
            FlexibleTimeWindow=OFF,
            ActionAfterCompletion="DELETE",
            Target={"Arn": target, "RoleArn": ROLE, "Input": json.dumps(context)},
        )
        assert made["ScheduleArn"] == f"arn:aws:scheduler:us-east-1:000000000000:schedule/default/{name}-{tag}"
    bodies: list[dict[str, Any]] = []

    def received() -> bool:
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, MaxNumberOfMessages=10).get("Messages", []):
            bodies.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(bodies) >= 2

    wait_until(received, what="the function's result and the queue's message")
    [ran] = [body["responsePayload"] for body in bodies if "responsePayload" in body]
    [sent] = [body for body in bodies if "responsePayload" not in body]
    schedule = "arn:aws:scheduler:us-east-1:000000000000:schedule/default/"
    assert ran == {"schedule": f"{schedule}f-{tag}", "attempt": "1"}
    assert sent == {"schedule": f"{schedule}q-{tag}", "attempt": "1"}
    wait_until(lambda: scheduler.list_schedules(NamePrefix=f"f-{tag}")["Schedules"] == [], what="the schedule is gone")


def test_groups_pages_and_client_tokens(scheduler: Any) -> None:
    group = f"group-{uuid.uuid4().hex[:8]}"
    scheduler.create_schedule_group(Name=group, ClientToken="t" + group)
    scheduler.create_schedule_group(Name=group, ClientToken="t" + group)
    with pytest.raises(scheduler.exceptions.ConflictException, match=f"Schedule group {group} already exists."):
        scheduler.create_schedule_group(Name=group)
    common: dict[str, Any] = {
        "GroupName": group,
        "ScheduleExpression": "rate(5 minutes)",
        "State": "DISABLED",
        "FlexibleTimeWindow": OFF,
        "Target": {"Arn": f"{QUEUE}q", "RoleArn": ROLE},
    }
    for number in range(5):
        scheduler.create_schedule(Name=f"s{number}", **common)
    with pytest.raises(scheduler.exceptions.ConflictException, match=r"Schedule s1 already exists\."):
        scheduler.create_schedule(Name="s1", **common)
    with pytest.raises(scheduler.exceptions.ConflictException):
        scheduler.create_schedule(Name="s9", ClientToken="t" + group, **common)
    pages = scheduler.get_paginator("list_schedules").paginate(GroupName=group, PaginationConfig={"PageSize": 2})
    assert [[each["Name"] for each in page["Schedules"]] for page in pages] == [["s0", "s1"], ["s2", "s3"], ["s4"]]
    scheduler.update_schedule(Name="s0", **{**common, "ScheduleExpression": "cron(0 0 ? * 2#1 *)", "Description": "d"})
    found = scheduler.get_schedule(Name="s0", GroupName=group)
    assert (found["ScheduleExpression"], found["Description"], found["State"]) == ("cron(0 0 ? * 2#1 *)", "d", "DISABLED")
    assert found["Target"]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    scheduler.delete_schedule(Name="s4", GroupName=group)
    scheduler.delete_schedule_group(Name=group)
    for missing in ({"Name": "s0", "GroupName": group}, {"Name": "gone"}):
        with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
            scheduler.get_schedule(**missing)


@pytest.mark.skipif(AWS is None, reason="needs the AWS CLI on PATH: pip install awscli")
def test_the_aws_cli_makes_shows_and_deletes_a_schedule(cluster: Cluster) -> None:
    name = f"cli-{uuid.uuid4().hex[:8]}"
    target = json.dumps({"Arn": f"{QUEUE}q", "RoleArn": ROLE})
    aws(
        cluster, "create-schedule", "--name", name, "--schedule-expression", "rate(1 day)", "--start-date",
        "2090-01-01T00:00:00Z", "--flexible-time-window", "Mode=OFF", "--target", target, service="scheduler",
    )  # fmt: skip
    shown = aws(cluster, "get-schedule", "--name", name, service="scheduler")
    # The first version of the CLI shows what came over the wire, the second a date.
    assert str(shown["StartDate"]).startswith(("2090-01-01T00:00:00", "3786912000"))
    refused = aws(
        cluster, "create-schedule", "--name", "x", "--schedule-expression", "rate(10 seconds)",
        "--flexible-time-window", "Mode=OFF", "--target", target, service="scheduler", ok=False,
    )  # fmt: skip
    assert "Invalid Schedule Expression rate(10 seconds)." in refused
    aws(cluster, "delete-schedule", "--name", name, service="scheduler")
