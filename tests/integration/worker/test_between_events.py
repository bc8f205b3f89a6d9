"""What a runtime does between two events: no healthy invocation fails for it, and none gets the answer of another."""

from __future__ import annotations

import asyncio
import os

import pytest

from services.worker.environment.environment import Environment
from shared.domain.functions import VersionSpec
from tests.integration.worker.cluster import Caller, TestWorker, until
from tests.integration.worker.test_real_sandbox import caller, worker
from tests.support import NODE

__all__ = ["caller", "worker"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")

# Each ends after its answer has been sent, and before the freezer comes: the time that it is given counts from then.
PYTHON_TIMER = """
import os, sys, threading, time
starts = open("/tmp/starts", "a").write("s") and os.path.getsize("/tmp/starts")
def waits_for_an_event():
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None and frame.f_code.co_name != "wait_next_invocation":
        frame = frame.f_back
    return frame is not None
def end(after_s):
    while not waits_for_an_event():
        time.sleep(0.0005)
    time.sleep(after_s)
    os._exit(1)
def handler(event, context):
    if event is not None:
        threading.Thread(target=end, args=[event]).start()
    return [os.path.getsize("/tmp/starts"), event]
"""
NODE_TIMER = """
let calls = 0;
exports.handler = async event => {
  if (event !== null) setTimeout(() => process.exit(1), event * 1000);
  calls += 1;
  return [calls, event];
};
"""
BOOTSTRAP_TIMER = """#!/usr/bin/python3
import http.client, os, threading
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
calls = 0
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    event = answer.read().decode()
    calls += 1
    path = "/2018-06-01/runtime/invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
    api.request("POST", path, body="[%d, %s]" % (calls, event))
    api.getresponse().read()
    if event != "null":
        threading.Timer(float(event), os._exit, [1]).start()
"""


def environment(worker: TestWorker, environment_id: str) -> Environment:
    return worker.fleet._environments[environment_id]


def of(worker: TestWorker, runtime: str) -> VersionSpec:
    if runtime == "python":
        return worker.function(PYTHON_TIMER)
    if runtime == "provided":
        return worker.program(BOOTSTRAP_TIMER)
    return worker.program(NODE_TIMER, "app.js", runtime=NODE)


RUNTIMES = ["python", "provided", pytest.param("nodejs", marks=pytest.mark.needs(NODE))]


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_runtime_that_ended_while_nothing_ran_is_started_again_for_the_next_event(
    worker: TestWorker, caller: Caller, runtime: str
) -> None:
    spec = of(worker, runtime)
    assert (await caller.answer(spec, "b-1", cold=True)).json() == [1, None]
    assert (await caller.answer(spec, "b-1", 0.01)).json()[1] == 0.01
    sandbox = environment(worker, "b-1")._sandbox
    assert sandbox is not None
    await until(lambda: not sandbox.alive, "the end of the runtime")
    answer = await caller.answer(spec, "b-1")
    assert answer.header.function_error is None, answer.payload
    assert answer.json()[1] is None
    assert answer.header.reusable
    assert "error" not in answer.tail
    assert answer.tail.count("START RequestId") == 1


PYTHON_ASKS_NO_MORE = """
import gc, os, time
def handler(event, context):
    if event is not None:
        for each in gc.get_objects():
            if type(each).__name__ == "Client" and hasattr(each, "wait_next_invocation"):
                type(each).wait_next_invocation = lambda self: (time.sleep(event), os._exit(1))
    return event
"""
BOOTSTRAP_ASKS_NO_MORE = BOOTSTRAP_TIMER.replace("threading.Timer(float(event), os._exit, [1]).start()", "os._exit(1)")


@pytest.mark.parametrize("runtime", ["python", "provided"])
async def test_an_event_that_a_runtime_ends_before_taking_runs_in_the_next_one(
    worker: TestWorker, caller: Caller, runtime: str
) -> None:
    """It ends after its answer, and as a rule before the worker knows of that."""
    spec = worker.function(PYTHON_ASKS_NO_MORE) if runtime == "python" else worker.program(BOOTSTRAP_ASKS_NO_MORE)
    await caller.answer(spec, "b-2", cold=True)
    for pause_s in (0, 0, 0, 0, 0.001, 0.002, 0.005, 0.02):
        assert (await caller.answer(spec, "b-2", pause_s)).header.function_error is None
        answer = await caller.answer(spec, "b-2")
        assert answer.header.function_error is None, answer.payload
        assert answer.tail.count("START RequestId") == 1


RETURNS_TWICE = """
import os, time
def handler(event, context):
    if event == "twice":
        if os.fork() == 0:
            time.sleep(0.05)
    return [event, context.aws_request_id]
"""
FORGES = """
import os, struct, time
def handler(event, context):
    if event == "forge":
        if os.fork() == 0:
            time.sleep(0.2)
            body = b'"forged, and long enough"'
            os.write(3, struct.pack("!IB", len(body), 18) + body)
            os._exit(0)
    if event == "slow":
        time.sleep(0.5)
    return [event, context.aws_request_id]
"""


async def test_a_process_that_returns_twice_shifts_no_answer(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(RETURNS_TWICE)
    await caller.answer(spec, "b-3", cold=True)
    first = await caller.answer(spec, "b-3", "twice", request_id="id-0")
    assert first.json() == ["twice", "id-0"]
    sandbox = environment(worker, "b-3")._sandbox
    assert sandbox is not None

    def is_seen() -> bool:
        sandbox.thaw()  # The process may have been frozen before it came to answer.
        return not sandbox.alive

    await until(is_seen, "the second answer to be seen")
    for number in range(1, 6):
        answer = await caller.answer(spec, "b-3", number, request_id=f"id-{number}")
        assert (answer.header.function_error, answer.json()) == (None, [number, f"id-{number}"])


async def test_an_answer_of_an_earlier_event_is_not_taken_for_that_of_a_later_one(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(FORGES)
    await caller.answer(spec, "b-4", cold=True)
    assert (await caller.answer(spec, "b-4", "forge", request_id="id-0")).json() == ["forge", "id-0"]
    answer = await caller.answer(spec, "b-4", "slow", request_id="id-1")
    assert answer.json() == ["slow", "id-1"]
    for number in range(2, 6):
        answer = await caller.answer(spec, "b-4", number, request_id=f"id-{number}")
        assert (answer.header.function_error, answer.json()) == (None, [number, f"id-{number}"])


async def test_events_that_come_at_once_after_a_stray_answer_are_their_own(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(RETURNS_TWICE)
    await caller.answer(spec, "b-5", cold=True)
    await caller.answer(spec, "b-5", "twice", request_id="id-0")
    for number in range(1, 30):
        answer = await caller.answer(spec, "b-5", number, request_id=f"id-{number}")
        assert answer.header.function_error is None, answer.payload
        assert answer.json() == [number, f"id-{number}"]
        await asyncio.sleep(0.005)
