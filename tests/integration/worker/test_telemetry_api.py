"""Telemetry to extensions in real sandboxes: records by AWS's schemas, by HTTP and TCP, in bounds."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sandbox.harness import processes_of
from tests.integration.worker.cluster import Caller, TestWorker, until
from tests.integration.worker.extensions import RECEIVES, extension
from tests.integration.worker.test_extensions import extended, log_of
from tests.integration.worker.test_real_sandbox import caller, worker

__all__ = ["caller", "worker"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")

TALKS = "def handler(event, context):\n    print('hello', event)\n    return event\n"
ID = "11111111-2222-4333-8444-555555555555"
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def records(worker: TestWorker, environment_id: str, name: str = "ext-1") -> list[dict[str, Any]]:
    """What an extension has received, in order."""
    sandbox = worker.fleet._environments[environment_id]._sandbox
    assert sandbox is not None
    pid = next((each.pid for each in processes_of(sandbox.uid)), None)
    if pid is None:
        return []
    kept = Path(f"/proc/{pid}/root/tmp/telemetry-{name}")
    # It may be in the middle of a line.
    return [json.loads(line) for line in kept.read_text().rpartition("\n")[0].splitlines()] if kept.exists() else []


async def has_received(
    worker: TestWorker, environment_id: str, condition: Callable[[list[dict[str, Any]]], bool], what: str
) -> list[dict[str, Any]]:
    """What it has received, once the condition holds. Nothing is delivered to what is frozen."""

    def there() -> bool:
        sandbox = worker.fleet._environments[environment_id]._sandbox
        assert sandbox is not None
        sandbox.thaw()
        return condition(records(worker, environment_id))

    await until(there, f"{what}, beyond {log_of(worker, environment_id)}")
    return records(worker, environment_id)


async def received(worker: TestWorker, environment_id: str, *types: str) -> list[dict[str, Any]]:
    """Once records of all these types are there."""
    return await has_received(
        worker, environment_id, lambda got: set(types) <= {each["type"] for each in got}, f"records of {types}"
    )


@pytest.mark.parametrize("tcp", [False, True])
async def test_what_happens_is_told_by_awss_schemas(worker: TestWorker, caller: Caller, tcp: bool) -> None:
    kind = "Lines" if tcp else "Receiver"
    program = RECEIVES + f'register("INVOKE", "SHUTDOWN")\nsay("got", subscribe(serve({kind}), tcp={tcp}))\nruns()\n'
    spec = extended(worker, program, source=TALKS)
    environment_id = f"t-1-{tcp}"
    answer = await caller.answer(
        spec, environment_id, 7, cold=True, request_id=ID, trace="Root=1-5759e988-bd862e3fe1be46a994272793"
    )
    assert answer.json() == 7
    got = await received(worker, environment_id, "platform.report", "function", "extension")
    assert all(set(each) == {"time", "type", "record"} and DATE.fullmatch(each["time"]) for each in got)
    order = [each["type"].removeprefix("platform.") for each in got if each["type"].startswith("platform.")]
    assert (order[0], order[4:]) == ("initStart", ["initReport", "start", "runtimeDone", "report"])
    assert set(order[1:4]) == {"telemetrySubscription", "initRuntimeDone", "extension"}, (
        "runtime and extension initialise at once"
    )
    by_type = {each["type"]: each["record"] for each in got}
    start = by_type["platform.initStart"]
    assert set(start) == {
        "initializationType",
        "phase",
        "runtimeVersion",
        "runtimeVersionArn",
        "functionName",
        "functionVersion",
    }
    assert (start["initializationType"], start["phase"]) == ("on-demand", "init")
    assert by_type["platform.telemetrySubscription"] == {
        "name": "ext-1",
        "state": "Subscribed",
        "types": ["platform", "function", "extension"],
    }
    assert by_type["platform.initRuntimeDone"] == {"initializationType": "on-demand", "phase": "init", "status": "success"}
    assert by_type["platform.extension"] == {"name": "ext-1", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}
    assert by_type["platform.initReport"]["metrics"].keys() == {"durationMs"}
    tracing = by_type["platform.start"]["tracing"]
    assert by_type["platform.start"] == {"requestId": ID, "version": "$LATEST", "tracing": tracing}
    assert (tracing["type"], re.fullmatch(r"[0-9a-f]{16}", tracing["spanId"]) is not None) == ("X-Amzn-Trace-Id", True)
    assert tracing["value"].startswith("Root=1-5759e988-bd862e3fe1be46a994272793;")
    done = by_type["platform.runtimeDone"]
    assert (done["requestId"], done["status"], done["metrics"]["producedBytes"]) == (ID, "success", 1)
    report = by_type["platform.report"]
    assert (report["requestId"], report["status"]) == (ID, "success")
    assert set(report["metrics"]) == {"durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"}
    assert [each["record"] for each in got if each["type"] == "function"] == ["hello 7"]
    assert any(each["type"] == "extension" and each["record"].startswith("ext-1 got") for each in got)
    log = log_of(worker, environment_id)
    assert re.search(r"^ext-1 got \(200, .*, 'OK'\)$", log, re.MULTILINE)
    assert "TELEMETRY\tName: ext-1\tState: Subscribed\tTypes: [Platform, Function, Extension]\n" in log


async def test_lines_of_functions_that_log_in_json_are_objects(worker: TestWorker, caller: Caller) -> None:
    program = RECEIVES + 'register("INVOKE")\nsubscribe(serve(Receiver), types=["function"])\nruns()\n'
    source = (
        'def handler(event, context):\n    print(\'{"level": "INFO", "n": 1}\')\n    print(\'{no JSON\')\n    return event\n'
    )
    spec = extended(worker, program, source=source, log_format="JSON")
    await caller.answer(spec, "t-2", 7, cold=True)
    got = await has_received(worker, "t-2", lambda got: len(got) == 2, "both lines")
    assert [each["record"] for each in got] == [{"level": "INFO", "n": 1}, "{no JSON"]


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_older_api_has_records_of_its_own(worker: TestWorker, caller: Caller, tcp: bool) -> None:
    kind = "Lines" if tcp else "Receiver"
    program = RECEIVES + (
        'register("INVOKE")\n'
        f'say("got", subscribe(serve({kind}), "/2020-08-15/logs", tcp={tcp}, schemaVersion="2021-03-18")[::2])\nruns()\n'
    )
    spec = extended(worker, program, source=TALKS)
    environment_id = f"t-3-{tcp}"
    await caller.answer(spec, environment_id, 7, cold=True, request_id=ID)
    got = await received(worker, environment_id, "platform.report", "function", "extension")
    assert all(set(each) == {"time", "type", "record"} and DATE.fullmatch(each["time"]) for each in got)
    by_type = {each["type"]: each["record"] for each in got}
    assert set(by_type) == {
        "platform.logsSubscription",
        "platform.extension",
        "platform.start",
        "platform.runtimeDone",
        "platform.end",
        "platform.report",
        "function",
        "extension",
    }
    assert by_type["platform.logsSubscription"]["types"] == ["platform", "function", "extension"]
    assert (by_type["function"], by_type["extension"]) == ("hello 7", "ext-1 got (200, 'OK')")
    assert by_type["platform.start"] == {"requestId": ID, "version": "$LATEST"}
    assert by_type["platform.runtimeDone"] == {"requestId": ID, "status": "success"}
    assert by_type["platform.end"] == {"requestId": ID}
    assert set(by_type["platform.report"]) == {"requestId", "metrics"}
    told = "LOGS\tName: ext-1\tState: Subscribed\tTypes: [Platform, Function, Extension]\n"
    assert told in log_of(worker, environment_id)


async def test_subscriptions_are_taken_while_extensions_initialise_and_checked(worker: TestWorker, caller: Caller) -> None:
    program = RECEIVES + (
        'say("stranger", json.dumps(subscribe(9)[2]))\n'
        'register("INVOKE")\n'
        'say("wrong", json.dumps(subscribe(9, types=[])[2]))\n'
        "while True:\n    following()\n"
        '    say("late", json.dumps(subscribe(9)[2]))\n'
        '    say("late logs", json.dumps(subscribe(9, "/2020-08-15/logs", schemaVersion=None)[2]))\n'
    )
    spec = extended(worker, program, source=TALKS)
    await caller.answer(spec, "t-4", 7, cold=True)
    log = log_of(worker, "t-4")
    told = {what: json.loads(text) for what, text in re.findall(r"^ext-1 ([a-z ]+) (\{.*\})$", log, re.MULTILINE)}
    assert told == {
        "stranger": {
            "errorType": "Extension.MissingExtensionIdentifier",
            "errorMessage": "Missing Lambda-Extension-Identifier header",
        },
        "wrong": {"errorType": "Telemetry.ValidationError", "errorMessage": "types should not be empty"},
        "late": {"errorType": "Telemetry.SubscriptionClosed", "errorMessage": "Telemetry API subscription is closed"},
        "late logs": {"errorType": "Logs.SubscriptionClosed", "errorMessage": "Logs API subscription is closed"},
    }


FLOOD = "def handler(event, context):\n    for n in range(event):\n        print('x' * 99)\n    return event\n"


async def test_a_receiver_that_takes_nothing_holds_up_nothing_and_hears_what_it_missed(
    worker: TestWorker, caller: Caller
) -> None:
    """It takes nothing until it is told; what it subscribed to is held to twice its buffer, the rest is counted."""
    program = RECEIVES + (
        "def handle(self):\n"
        "    while not os.path.exists('/tmp/take'):\n        time.sleep(0.01)\n"
        "    for line in self.rfile:\n        keep(line.decode())\n"
        "Lines.handle = handle\n"
        "def server_activate(self):\n"
        "    self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)\n    self.socket.listen()\n"
        "socketserver.ThreadingTCPServer.server_activate = server_activate\n"
        'register("INVOKE")\nsubscribe(serve(Lines), tcp=True)\nruns()\n'
    )
    source = FLOOD + "def take(event, context):\n    open('/tmp/take', 'w').close()\n"
    source = source.replace("    for n in", "    if event == 0:\n        open('/tmp/take', 'w').close()\n    for n in")
    spec = extended(worker, program, source=source, timeout_s=20)
    await caller.answer(spec, "t-5", 1, cold=True)
    for _ in range(2):
        answer = await caller.answer(spec, "t-5", 15_000, log_tail=False)
        assert answer.header.function_error is None
        await until(lambda: not worker.fleet._environments["t-5"].busy, "the end of the invocation")
    environment = worker.fleet._environments["t-5"]
    host = environment._sandbox._host  # type: ignore[union-attr]
    (told,) = host._hub._subscribers.values()
    assert told._subscriber._bytes <= 3 * 262_144
    await caller.answer(spec, "t-5", 0)
    got = await received(worker, "t-5", "platform.logsDropped")
    dropped = [each["record"] for each in got if each["type"] == "platform.logsDropped"]
    assert sum(each["droppedRecords"] for each in dropped) > 1_000
    assert dropped[0].keys() == {"droppedBytes", "droppedRecords", "reason"}
    assert (
        dropped[0]["reason"] == "Some logs were dropped because the downstream consumer is slower than the logs production rate"
    )


async def test_a_port_where_nobody_listens_costs_its_subscriber_the_telemetry_alone(worker: TestWorker, caller: Caller) -> None:
    program = RECEIVES + 'register("INVOKE")\nsubscribe(9)\nruns()\n'
    spec = extended(worker, program, source=TALKS)
    for number in range(3):
        answer = await caller.answer(spec, "t-6", number, cold=number == 0)
        assert answer.header.function_error is None, answer.payload


async def test_telemetry_waits_while_the_environment_is_frozen(worker: TestWorker, caller: Caller) -> None:
    program = RECEIVES + 'register("INVOKE")\nsubscribe(serve(Receiver), buffering={"timeoutMs": 200})\nruns()\n'
    spec = extended(worker, program, source=TALKS)
    await caller.answer(spec, "t-7", 1, cold=True, request_id=ID)
    environment = worker.fleet._environments["t-7"]
    await until(lambda: environment.state.value == "frozen", "the environment to be frozen")
    again = "21111111-2222-4333-8444-555555555555"
    await caller.answer(spec, "t-7", 2, request_id=again)
    await until(lambda: environment.state.value == "frozen", "the environment to be frozen again")
    reports = lambda got: [each["record"]["requestId"] for each in got if each["type"] == "platform.report"]  # noqa: E731
    got = await has_received(worker, "t-7", lambda got: len(reports(got)) >= 2, "both reports")
    assert reports(got) == [ID, again], "each once"


async def test_an_extension_that_starts_anew_subscribes_anew_and_hears_how_the_last_one_ended(
    worker: TestWorker, caller: Caller
) -> None:
    program = RECEIVES + 'register("INVOKE", "SHUTDOWN")\nsubscribe(serve(Receiver), types=["platform"])\nruns()\n'
    source = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"
    spec = extended(worker, program, source=source, timeout_s=3, memory_mb=1_769)
    await caller.answer(spec, "t-8", 0, cold=True)
    failed = await caller.answer(spec, "t-8", 60, request_id=ID)
    assert failed.json()["errorType"] == "Sandbox.Timedout"
    await caller.answer(spec, "t-8", 0)

    def is_told(got: list[dict[str, Any]]) -> bool:
        reports = [each["record"] for each in got if each["type"] == "platform.report"]
        return any(each["requestId"] == ID and each["status"] == "timeout" for each in reports)

    got = await has_received(worker, "t-8", is_told, "the report of the invocation that timed out")
    again = [each["record"]["phase"] for each in got if each["type"] == "platform.initStart"]
    assert again == ["init", "invoke"]


HOSTILE = extension(
    """
register("INVOKE")
import socket
port = int(os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")[1])
host = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")[0]
server = socket.create_server(("", 0), backlog=1)
def answers():
    while True:
        taken, _ = server.accept()
        taken.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 999999999\\r\\n\\r\\n" + b"x" * 1_000_000)
threading.Thread(target=answers, daemon=True).start()
body = {"schemaVersion": "2022-12-13", "types": ["platform"], "buffering": {"timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": "http://sandbox:%d/" % server.getsockname()[1]}}
say("subscribed", call("PUT", "/2022-07-01/telemetry", body)[0])
while True:
    following()
    for number in range(25):
        one = socket.create_connection((host, port))
        one.sendall(b"GET /2020-01-01/extension/event/next HTTP/1.1\\r\\nLambda-Extension-Identifier: x\\r\\n\\r\\n" * 20)
    held = [socket.create_connection((host, port)) for _ in range(30)]
"""
)


async def test_a_receiver_that_answers_garbage_and_floods_the_api_fails_for_itself(worker: TestWorker, caller: Caller) -> None:
    spec = extended(worker, HOSTILE, source=TALKS, timeout_s=10)
    other = worker.function("def handler(event, context):\n    return event\n")
    await caller.answer(other, "t-9-other", 1, cold=True)
    for number in range(2):
        await caller.answer(spec, "t-9", number, cold=number == 0)
        assert (await caller.answer(other, "t-9-other", number)).json() == number
