"""The ledger through the front door: by HTTP as any client asks it, and by `lambdad events`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from typing import Any

import boto3
import pytest

from deploy.local.events.client import LedgerClient
from shared.domain.errors import ConfigurationError
from shared.ledger.answers import Delivery, Event, Listed, ListedDeliveries, Shown
from tests.e2e.conftest import MakeFunction
from tests.support import wait_until, zip_of

QUEUE = "arn:aws:sqs:us-east-1:000000000000:"
FAILS = "def handler(event, context):\n    raise KeyError('no ' + event['key'])\n"
WORKS = "def handler(event, context):\n    return {'key': event['key'], 'n': 2}\n"


@pytest.fixture(scope="module")
def ledger(cluster: Any) -> LedgerClient:
    return LedgerClient.of(cluster.environment)


def accept(client: Any, name: str, event: Any, **parameters: Any) -> str:
    reply = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event), **parameters)
    return str(reply["ResponseMetadata"]["RequestId"])


def with_status(ledger: LedgerClient, request_id: str, *statuses: str) -> Event:
    def found() -> Event | None:
        listed = ledger.get("", {"request_id": request_id}, Listed).events
        return next((event for event in listed if event.status in statuses), None)

    event = wait_until(found, what=f"{request_id} to be {' or '.join(statuses)}")
    assert event is not None
    return event


def test_every_event_is_found_by_function_status_error_and_time(
    client: Any, make_function: MakeFunction, ledger: LedgerClient, cluster: Any
) -> None:
    name = make_function("def handler(event, context):\n    if event['n'] == 2:\n        raise ValueError('two is odd')\n")
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    ids = [accept(client, name, {"n": n}) for n in range(5)]
    states = {each: with_status(ledger, each, "succeeded", "failed").status for each in ids}
    assert [states[each] for each in ids] == ["succeeded", "succeeded", "failed", "succeeded", "succeeded"]

    def listed(**asked: str) -> list[str]:
        return [event.request_id for event in ledger.get("", {"function": name, **asked}, Listed).events]

    assert sorted(listed()) == sorted(ids)
    assert listed(status="failed") == [ids[2]]
    assert listed(error="TWO is") == [ids[2]]
    assert sorted(listed(since="1h")) == sorted(ids)
    assert listed(until="1h") == []
    assert listed(status="queued,running") == []
    first = ledger.get("", {"function": name, "limit": "2"}, Listed)
    rest = ledger.get("", {"function": name, "limit": "500", "after": str(first.next)}, Listed)
    assert [event.request_id for event in (*first.events, *rest.events)] == listed()
    assert rest.next is None

    shown = ledger.get(f"/{ids[2]}", {}, Shown)
    assert shown.event is not None
    assert (shown.event.attempts, shown.event.version) == (1, "$LATEST")
    assert shown.event.error == "ValueError: two is odd"
    assert [step.what for step in shown.steps] == ["attempt-failed"]
    told = cluster.run("events", "show", ids[2]).stdout
    assert "ValueError: two is odd" in told
    assert cluster.run("events", "show", ids[2], "--payload").stdout == '{"n": 2}'
    lines = cluster.run("events", "--function", name, "--status", "failed", "--json").stdout.splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == [ids[2]]
    assert cluster.run("events", "--function", name, "--count").stdout == "5\n"
    assert cluster.run("events", "--function", f"{name}:$LATEST", "--count").stdout == "5\n"
    assert cluster.run("events", "--function", name, "--count", "--region", "eu-west-1").stdout == "0\n"


def test_what_failed_is_run_again_as_a_new_event_that_is_linked_to_the_old_one(
    client: Any, make_function: MakeFunction, ledger: LedgerClient, cluster: Any
) -> None:
    name = make_function(FAILS)
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    old = accept(client, name, {"key": "a"})
    with_status(ledger, old, "failed")
    client.update_function_code(FunctionName=name, ZipFile=zip_of({"app.py": WORKS}), Publish=False)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    asked = cluster.run("events", "redrive", "--function", name, "--status", "failed", "--yes")
    assert asked.returncode == 0, asked.stderr
    assert "1 events are so; 1 of them" in asked.stderr
    new = asked.stdout.split(" -> ")[1].strip()
    assert new != old
    with_status(ledger, new, "succeeded")

    def links() -> tuple[str, str] | None:
        found = [ledger.get(f"/{each}", {}, Shown).steps for each in (old, new)]
        steps = [f"{step.what} {step.target}" for all_of in found for step in all_of if step.what.startswith("redrive")]
        return (steps[0], steps[1]) if len(steps) > 1 else None

    assert wait_until(links, what="both events are told of the other") == (f"redriven {new}", f"redrive-of {old}")
    assert with_status(ledger, old, "failed").request_id == old


def test_an_event_that_waits_can_be_taken_back(
    client: Any, make_function: MakeFunction, ledger: LedgerClient, cluster: Any
) -> None:
    name = make_function("import time\ndef handler(event, context):\n    time.sleep(event)\n", Timeout=120)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    # Longer than all of this test: the others wait until then.
    first = accept(client, name, 110)
    with_status(ledger, first, "running")
    second = accept(client, name, 0)
    with_status(ledger, second, "waiting", "queued")
    assert cluster.run("events", "cancel", second).returncode == 0
    event = with_status(ledger, second, "cancelled")
    assert event.attempts == 0
    again = cluster.run("events", "cancel", second, "11111111-0000-4000-8000-000000000000")
    assert again.returncode == 1, "what has ended cannot be taken back"
    assert f"{second} was not taken back: it has ended: cancelled." in again.stdout
    assert "11111111-0000-4000-8000-000000000000 was not taken back: the ledger has nothing of it" in again.stdout
    third = accept(client, name, 0)
    with_status(ledger, third, "waiting", "queued")
    of_all = cluster.run("events", "cancel", "--function", name, "--max", "2", "--yes")
    assert of_all.returncode == 0, of_all.stdout + of_all.stderr
    assert third in of_all.stdout, "what has ended takes no place among what is to be cancelled"
    with_status(ledger, third, "cancelled")


def test_a_replay_shows_the_difference_of_two_versions_answers(
    client: Any, make_function: MakeFunction, ledger: LedgerClient, cluster: Any
) -> None:
    name = make_function("def handler(event, context):\n    return {'key': event['key'], 'n': 1}\n")
    assert client.publish_version(FunctionName=name)["Version"] == "1"
    request_id = accept(client, name, {"key": "k"}, Qualifier="1")
    with_status(ledger, request_id, "succeeded")
    client.update_function_code(FunctionName=name, ZipFile=zip_of({"app.py": WORKS}))
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    client.get_waiter("function_active_v2").wait(FunctionName=f"{name}:2", WaiterConfig={"Delay": 1})
    replayed = cluster.run("events", "replay", request_id, "--version", "2")
    assert replayed.returncode == 1, replayed.stderr
    assert replayed.stdout.splitlines() == ["version 1  ->  version 2", " {", '   "key": "k",', '-  "n": 1', '+  "n": 2', " }"]
    same = cluster.run("events", "replay", request_id, "--version", "1")
    assert same.returncode == 0
    assert "the same answer" in same.stdout
    steps = ledger.get(f"/{request_id}", {}, Shown).steps
    assert all(step.what == "replayed" for step in steps)


def test_a_replay_that_ends_in_the_same_way_differs_in_nothing(
    client: Any, make_function: MakeFunction, ledger: LedgerClient, cluster: Any
) -> None:
    """Not even in the request id: each run is one attempt more at the same event."""
    name = make_function(
        "import os\ndef handler(event, context):\n    return context.aws_request_id if event else os._exit(1)\n"
    )
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    for event, status in (({"a": 1}, "succeeded"), ({}, "failed")):
        request_id = accept(client, name, event)
        with_status(ledger, request_id, status)
        replayed = cluster.run("events", "replay", request_id, "--version", "$LATEST")
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
        assert request_id in replayed.stdout


def test_messages_of_a_dead_letter_queue_go_back_to_their_function(
    cluster: Any, client: Any, make_function: MakeFunction, ledger: LedgerClient
) -> None:
    sqs = boto3.client(
        "sqs",
        endpoint_url=cluster.endpoint,
        region_name="us-east-1",
        aws_access_key_id=cluster.access_key_id,
        aws_secret_access_key=cluster.secret_access_key,
    )
    queue = f"dead-{uuid.uuid4().hex[:8]}"
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    name = make_function(FAILS, DeadLetterConfig={"TargetArn": QUEUE + queue})
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    old = accept(client, name, {"key": "a"})

    def waiting() -> bool:
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return int(counts["ApproximateNumberOfMessages"]) == 1

    wait_until(waiting, what="the dead letter")
    with_status(ledger, old, "failed")
    client.update_function_code(FunctionName=name, ZipFile=zip_of({"app.py": WORKS}))
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    refused = cluster.run("events", "redrive", "--queue", queue, "--version", "99")
    assert refused.returncode == 1, "no version 99: the message stays, to be received at once"
    redriven = cluster.run("events", "redrive", "--queue", queue)
    assert redriven.returncode == 0, redriven.stderr
    before, _, new = redriven.stdout.strip().partition(" -> ")
    assert before == old
    with_status(ledger, new, "succeeded")
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == counts["ApproximateNumberOfMessagesNotVisible"] == "0"
    assert cluster.run("events", "redrive", "--queue", f"no-{queue}").returncode == 2
    sqs.delete_queue(QueueUrl=url)


def test_where_an_outcome_went_is_told(client: Any, make_function: MakeFunction, ledger: LedgerClient) -> None:
    name = make_function(FAILS)
    target = QUEUE + f"failed-{uuid.uuid4().hex[:8]}"
    client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": target}}
    )
    request_id = accept(client, name, {"key": "a"})

    def delivered() -> Event | None:
        event = ledger.get("", {"request_id": request_id}, Listed).events
        return event[0] if event and event[0].deliveries else None

    event = wait_until(delivered, what="the delivery is told of")
    assert event is not None
    assert event.deliveries in ([f"delivered {target}"], [f"kept {target}"])


def test_what_does_not_reach_its_target_is_found_whoever_sent_it(
    cluster: Any, client: Any, make_function: MakeFunction, ledger: LedgerClient
) -> None:
    sns = boto3.client(
        "sns",
        endpoint_url=cluster.endpoint,
        region_name="us-east-1",
        aws_access_key_id=cluster.access_key_id,
        aws_secret_access_key=cluster.secret_access_key,
    )
    name = make_function(WORKS)
    topic = sns.create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")["TopicArn"]
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    client.delete_function(FunctionName=name)
    message_id = sns.publish(TopicArn=topic, Message="m")["MessageId"]

    def refused() -> list[Delivery]:
        return ledger.get("/deliveries", {"of": topic, "what": "delivery-refused"}, ListedDeliveries).deliveries

    [delivery] = wait_until(refused, what="the delivery that is refused")
    assert (delivery.request_id, delivery.target) == (message_id, arn)
    assert delivery.on_behalf_of.startswith(topic)
    shown = cluster.run("events", "deliveries", "--of", topic)
    assert f"delivery-refused  {delivery.on_behalf_of} -> {arn}: Function not found" in shown.stdout
    sns.delete_topic(TopicArn=topic)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "?error=%00", None),
        ("GET", "?after=ks8AAAAAAAAAAKF4", None),
        ("GET", "/deliveries?after=AAAA", None),
        ("GET", "/deliveries?what=lost", None),
        ("GET", "/deliveries?of=%00&to=%00", None),
        ("POST", "/redrive", {"events": {}, "max": 1, "qualifier": "\0"}),
        ("POST", "/redrive", {"events": {"error": "\0"}}),
        ("POST", "/redrive-queue", {"queue": "\0"}),
        ("POST", "/redrive-queue", {"queue": "q", "qualifier": "a b"}),
        ("POST", "/cancel", {"events": {"request_id": ["\0"]}}),
    ],
)
def test_no_request_makes_a_fault_of_the_service(ledger: LedgerClient, method: str, path: str, body: Any) -> None:
    said = ""
    try:
        ledger.post(path, body, dict) if method == "POST" else ledger.read(path)
    except ConfigurationError as error:
        said = str(error)
    assert "internal error" not in said


@pytest.mark.parametrize("path", ["", "/count", "/deliveries", "/x", "/x/payload"])
def test_strangers_are_told_nothing(cluster: Any, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{cluster.endpoint}/_lambdad/events{path}", timeout=30)
    assert refused.value.code == 403
    refused.value.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "11111111-0000-4000-8000-000000000000"], "The ledger has nothing of"),
        (["--status", "sleeping"], "sleeping is no status of an event."),
        (["--since", "yesterday"], "yesterday is no time"),
        (["redrive"], "say which"),
        (["redrive", "--queue", "q", "--status", "failed"], "--queue takes whatever messages there are"),
        (["redrive", "--max", "5000"], "5000 is no number from 1 to 1,000"),
        (["-n", "0"], "0 is no number from 1 to"),
        (["deliveries", "--what", "lost"], "lost is nothing that becomes of a delivery"),
    ],
)
def test_mistakes_are_told_in_words(cluster: Any, arguments: list[str], said: str) -> None:
    told = cluster.run("events", *arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert said in told.stderr
