"""What an extension can do beyond its own sandbox: nothing."""

from __future__ import annotations

import os
import re

import pytest

from tests.integration.sandbox.harness import processes_of
from tests.integration.worker.cluster import Caller, TestWorker, until
from tests.integration.worker.extensions import extension
from tests.integration.worker.test_extensions import ended, extended, log_of
from tests.integration.worker.test_real_sandbox import caller, worker

__all__ = ["caller", "worker"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")

SHOWS = extension('register("INVOKE", "SHUTDOWN")\nsay("is", IDENTIFIER)\nwhile True:\n    following()\n')
ASKS = """
import http.client, json, os
def call(method, path, headers):
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=5)
    api.request(method, path, b"{}", headers)
    answer = api.getresponse()
    return [answer.status, json.loads(answer.read())["errorType"]]
def handler(event, context):
    me = {"Lambda-Extension-Identifier": event, "Lambda-Extension-Function-Error-Type": "A.B"}
    return [call("GET", "/2020-01-01/extension/event/next", me), call("POST", "/2020-01-01/extension/exit/error", me),
            call("PUT", "/2022-07-01/telemetry", me)]
"""


async def test_an_extension_of_one_function_is_unknown_in_every_other(worker: TestWorker, caller: Caller) -> None:
    mine, other = extended(worker, SHOWS), extended(worker, SHOWS, source=ASKS)
    await caller.answer(mine, "s-1", 1, cold=True)
    identifier = re.findall(r"^ext-1 is (\S+)$", log_of(worker, "s-1"), re.MULTILINE)[0]
    answer = await caller.answer(other, "s-2", identifier, cold=True)
    assert answer.json() == [[403, "Extension.UnknownExtensionIdentifier"]] * 3
    assert (await caller.answer(mine, "s-1", 2)).json() == [2, 1], "it goes on undisturbed"


FORKS = extension(
    """
register("INVOKE", "SHUTDOWN")
while True:
    event = following()
    for number in range(20):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.pause()
    if event["eventType"] == "SHUTDOWN":
        sys.exit(0)
"""
)


async def test_what_an_extension_forks_ends_with_its_environment(worker: TestWorker, caller: Caller) -> None:
    spec = extended(worker, FORKS)
    await caller.answer(spec, "s-3", 1, cold=True)
    sandbox = worker.fleet._environments["s-3"]._sandbox
    assert sandbox is not None
    uid = sandbox.uid
    assert len(processes_of(uid)) > 20
    await ended(worker, "s-3")
    await until(lambda: not processes_of(uid), "the end of all its processes")
