"""Environments that are started without an event, for provisioned concurrency: in real sandboxes."""

from __future__ import annotations

import os

import pytest

from services.worker.environment import environment as environment_module
from tests.integration.worker.cluster import Answer, Caller, TestWorker, header_for, until
from tests.integration.worker.test_real_sandbox import caller, worker

__all__ = ["caller", "worker"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")

SOURCE = """
import os, time
time.sleep(0.2)
began = time.time()
def handler(event, context):
    if event == "exit":
        os._exit(0)
    return [os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], began]
"""


async def prepare(caller: Caller, worker: TestWorker, source: str, environment_id: str, **changes: object) -> Answer:
    spec = worker.function(source)
    return await caller.answer(spec, environment_id, b"", cold=True, prepare=True, **changes)


def provisioned(worker: TestWorker, environment_id: str) -> str | None:
    return next((e.provisioned for e in worker.fleet.inventory() if e.environment_id == environment_id), None)


async def test_it_initialises_ahead_and_its_first_invocation_is_warm_and_not_billed_for_that(
    worker: TestWorker, caller: Caller
) -> None:
    prepared = await prepare(caller, worker, SOURCE, "p-1")
    assert (prepared.header.reusable, prepared.header.function_error, prepared.payload) == (True, None, b"")
    assert prepared.header.init_ms is not None
    assert prepared.header.init_ms > 200
    assert provisioned(worker, "p-1") == "r"
    log = worker.logs["p-1"].text
    assert log.startswith("INIT_START Runtime Version: ")
    assert "INIT_REPORT Init Duration: " in log
    assert "START RequestId" not in log
    spec = worker.function(SOURCE)
    first = await caller.answer(spec, "p-1", None)
    assert first.json()[0] == "provisioned-concurrency"
    assert first.header.duration_ms < 200
    assert first.header.billed_ms < 200
    assert "Init Duration: " in first.tail, "as on AWS it is told of, though it is not billed"
    second = await caller.answer(spec, "p-1", None)
    assert second.json() == first.json()
    assert "Init Duration: " not in second.tail


async def test_an_environment_on_demand_is_named_so_beside_it(worker: TestWorker, caller: Caller) -> None:
    await prepare(caller, worker, SOURCE, "p-1")
    on_demand = await caller.answer(worker.function(SOURCE), "d-1", None, cold=True)
    assert on_demand.json()[0] == "on-demand"
    assert provisioned(worker, "d-1") == ""


@pytest.mark.parametrize(("source", "ended"), [("raise Exception('no')", "error"), ("import os; os._exit(3)", "failure")])
async def test_one_that_does_not_initialise_is_gone(worker: TestWorker, caller: Caller, source: str, ended: str) -> None:
    answer = await prepare(caller, worker, source, "p-1")
    assert (answer.header.reusable, answer.header.function_error) == (False, ended)
    assert provisioned(worker, "p-1") is None
    assert "Phase: init\tStatus: error" in worker.logs["p-1"].text


async def test_it_may_initialise_for_longer_than_on_demand_but_not_for_ever(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_module, "INIT_TIMEOUT_S", 0.1)
    assert (await prepare(caller, worker, SOURCE, "p-1")).header.reusable
    monkeypatch.setattr(environment_module, "init_limit_s", lambda _timeout_s: 0.1)
    spec = worker.function("import time\ntime.sleep(30)", timeout_s=1)
    answer = await caller.answer(spec, "p-2", b"", cold=True, prepare=True)
    assert (answer.header.reusable, answer.header.function_error) == (False, "timeout")
    assert "INIT_REPORT" in worker.logs["p-2"].text
    assert "Status: timeout" in worker.logs["p-2"].text


async def test_one_whose_runtime_ends_makes_room_for_another(worker: TestWorker, caller: Caller) -> None:
    await prepare(caller, worker, SOURCE, "p-1")
    answer = await caller.answer(worker.function(SOURCE), "p-1", "exit")
    assert answer.header.function_error == "Unhandled"
    assert not answer.header.reusable
    assert provisioned(worker, "p-1") is None


async def test_a_caller_that_goes_away_leaves_nothing_half_started(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function("import time\ntime.sleep(30)")
    other = await Caller.connect(worker.server.port)
    other.send(header_for(spec, "p-9", b"", cold=True, prepare=True), b"")
    await until(lambda: provisioned(worker, "p-9") == "s", "the start is under way")
    await other.close()
    await until(lambda: provisioned(worker, "p-9") is None, "it is gone")
