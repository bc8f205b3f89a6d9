"""How an invocation can end, and what answer and log say of it. Every expected text is AWS's."""

from __future__ import annotations

import asyncio
import re

import pytest
from prometheus_client import CollectorRegistry

from services.worker.environment import environment, interruption
from services.worker.sandbox.spec import InvalidInvocationError
from services.worker.telemetry.events import FunctionOutput, InitReport, InitStart, Phase, Report, Start, Status
from services.worker.telemetry.metrics import EnvironmentMetrics
from shared.dispatch.wire.messages import RefusalReason
from tests.integration.worker.cluster import Answer, Caller, TestWorker, until
from tests.integration.worker.process_sandbox import ProcessPool, ProcessSandbox
from tests.support import PATIENCE_S

ECHO = "def handler(event, context):\n    return event\n"
COUNTER = """
import os
count = 0
def handler(event, context):
    global count
    count += 1
    path = os.environ["TEST_TMP"] + "/count"
    seen = open(path).read() if os.path.exists(path) else ""
    open(path, "a").write("x")
    if event == "hang":
        import time
        time.sleep(60)
    if event == "exit":
        os._exit(3)
    return [count, len(seen)]
"""


def failed(answer: Answer, request_id: str, error_type: str, text: str) -> None:
    assert answer.header.function_error == "Unhandled"
    assert answer.json() == {"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {text}"}


async def test_a_cold_start_answers_and_the_next_invocation_finds_it_warm(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(
        "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    print('hi')\n    return count\n"
    )
    cold = await caller.answer(spec, "e-1", cold=True, request_id="r-1")
    assert cold.json() == 1
    assert cold.header.reusable
    assert cold.header.function_error is None
    assert cold.header.init_ms is not None
    await until(lambda: "hi" in worker.logs["e-1"].text)
    start, *_ = cold.tail.splitlines()
    assert start == "START RequestId: r-1 Version: $LATEST"
    assert cold.header.billed_ms >= cold.header.init_ms + cold.header.duration_ms
    assert re.search(r"REPORT RequestId: r-1\tDuration: [\d.]+ ms\t.*\tInit Duration: [\d.]+ ms\t\n$", cold.tail)

    warm = await caller.answer(spec, "e-1", request_id="r-2")
    assert warm.json() == 2
    assert warm.header.init_ms is None
    assert warm.header.max_memory_mb == 36
    assert re.search(r"\nREPORT RequestId: r-2\t[^\n]*Max Memory Used: 36 MB\t\n$", warm.tail)
    log = worker.logs["e-1"].text
    assert log.startswith("INIT_START Runtime Version: python:3.12.v1\tRuntime Version ARN: ")
    assert log.count("INIT_START") == 1


async def test_the_log_tail_is_the_last_four_kilobytes_and_only_given_when_asked(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function("def handler(event, context):\n    print('x' * 9000)\n    print('end')\n")
    answer = await caller.answer(spec, "e-1", cold=True)
    assert len(answer.header.log_tail) <= 4_096
    assert answer.tail.endswith("\t\n")
    quiet = await caller.answer(spec, "e-1", log_tail=False)
    assert quiet.header.log_tail == b""


async def test_a_handler_error_is_passed_on_unchanged_and_the_process_lives(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(
        "import os\ndef handler(event, context):\n    if event: raise ValueError('no')\n    return os.getpid()\n"
    )
    first = await caller.answer(spec, "e-1", None, cold=True)
    answer = await caller.answer(spec, "e-1", 1)
    assert answer.header.function_error == "Unhandled"
    assert answer.header.reusable
    assert (answer.json()["errorType"], answer.json()["errorMessage"]) == ("ValueError", "no")
    assert answer.tail.endswith("Status: error\tError Type: Runtime.Unknown\n")
    assert (await caller.answer(spec, "e-1", None)).json() == first.json()


async def test_a_timeout_kills_the_process_and_keeps_tmp(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(COUNTER, timeout_s=1)
    assert (await caller.answer(spec, "e-1", cold=True)).json() == [1, 0]
    answer = await caller.answer(spec, "e-1", "hang", request_id="r-t")
    failed(answer, "r-t", "Sandbox.Timedout", "Task timed out after 1.00 seconds")
    assert answer.header.duration_ms == 1000.0
    assert answer.header.reusable
    assert "Duration: 1000.00 ms\tBilled Duration: 1000 ms" in answer.tail
    assert answer.tail.endswith("\tStatus: timeout\n")
    after = await caller.answer(spec, "e-1")
    assert after.json() == [1, 2]
    assert after.header.init_ms is None
    assert "Init Duration" not in after.tail


@pytest.mark.parametrize(
    ("statement", "text", "in_log"),
    [
        ("os._exit(0)", "Runtime exited without providing a reason", "Runtime.ExitError"),
        ("os._exit(7)", "Runtime exited with error: exit status 7", "Runtime.ExitError"),
        ("os.kill(os.getpid(), 11)", "Runtime exited with error: signal: segmentation fault", "Runtime.ExitError"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed", "Runtime.ExitError"),
        ("os._exit(99)", "Runtime exited with error: signal: killed", "Runtime.OutOfMemory"),
    ],
)
async def test_the_end_of_the_process_is_reported_and_the_next_invocation_starts_it_again(
    worker: TestWorker, caller: Caller, statement: str, text: str, in_log: str
) -> None:
    spec = worker.function(f"import os\ndef handler(event, context):\n    if event: {statement}\n    return 'fine'\n")
    await caller.answer(spec, "e-1", cold=True)
    answer = await caller.answer(spec, "e-1", 1, request_id="r-x")
    failed(answer, "r-x", "Runtime.ExitError", text)
    assert answer.tail.endswith(f"\tStatus: error\tError Type: {in_log}\n")
    if in_log == "Runtime.OutOfMemory":
        assert answer.header.max_memory_mb == spec.memory_mb
    assert (await caller.answer(spec, "e-1")).json() == "fine"


async def test_an_import_error_is_tried_twice_and_then_answered(worker: TestWorker, caller: Caller, pool: ProcessPool) -> None:
    spec = worker.function("import nowhere_to_be_found\n")
    answer = await caller.answer(spec, "e-1", cold=True)
    assert answer.header.function_error == "Unhandled"
    assert answer.json() == {
        "errorMessage": "Unable to import module 'app': No module named 'nowhere_to_be_found'",
        "errorType": "Runtime.ImportModuleError",
        "requestId": "",
        "stackTrace": [],
    }
    assert pool.made[0].starts == 2
    assert answer.header.init_ms is None
    assert answer.header.reusable
    reports = re.findall(
        r"INIT_REPORT Init Duration: [\d.]+ ms\tPhase: (\w+)\tStatus: error\tError Type: ([\w.]+)", worker.logs["e-1"].text
    )
    assert reports == [("init", "Runtime.ImportModuleError"), ("invoke", "Runtime.ImportModuleError")]
    assert answer.tail.endswith("Status: error\tError Type: Runtime.ImportModuleError\n")
    assert (await caller.answer(spec, "e-1")).json() == answer.json()


async def test_an_init_that_fails_once_succeeds_inside_the_invocation(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(
        "import os\nmark = os.environ['TEST_TMP'] + '/mark'\n"
        "if not os.path.exists(mark):\n    open(mark, 'w').close()\n    os._exit(1)\n" + ECHO
    )
    answer = await caller.answer(spec, "e-1", "hello", cold=True)
    assert answer.json() == "hello"
    assert answer.header.init_ms is None
    assert "Phase: init\tStatus: error\tError Type: Runtime.ExitError" in worker.logs["e-1"].text


async def test_an_init_over_its_limit_repeats_under_the_functions_timeout(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "INIT_TIMEOUT_S", 0.3)
    spec = worker.function("import time\ntime.sleep(30)\n" + ECHO, timeout_s=1)
    answer = await caller.answer(spec, "e-1", cold=True, request_id="r-i")
    failed(answer, "r-i", "Sandbox.Timedout", "Task timed out after 1.00 seconds")
    reports = re.findall(r"INIT_REPORT Init Duration: (\d+)\.\d\d ms\tPhase: (\w+)\tStatus: timeout\n", worker.logs["e-1"].text)
    assert [phase for _, phase in reports] == ["init", "invoke"]
    assert 300 <= int(reports[0][0]) < 400
    assert int(reports[1][0]) >= 1_000


async def test_a_response_over_the_limit_is_replaced_by_awss_document(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function("def handler(event, context):\n    return 'a' * event\n")
    at_limit = await caller.answer(spec, "e-1", 6_291_554, cold=True)
    assert len(at_limit.payload) == 6_291_556
    over = await caller.answer(spec, "e-1", 6_291_555)
    assert over.header.function_error == "Unhandled"
    assert over.json() == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }


@pytest.mark.parametrize("timeout_s", [3, 1_800])
async def test_the_runtime_gets_the_functions_deadline(worker: TestWorker, caller: Caller, timeout_s: int) -> None:
    spec = worker.function(
        "import time\ndef handler(event, context):\n    return context['deadline_ms'] - time.time() * 1000\n",
        timeout_s=timeout_s,
    )
    assert timeout_s * 1_000 - 1_500 < (await caller.answer(spec, "e-1", cold=True)).json() <= timeout_s * 1_000 + 1


async def test_cancelling_kills_what_runs_and_the_environment_can_be_used_again(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(COUNTER, timeout_s=30)
    await caller.answer(spec, "e-1", cold=True)
    stream, future = caller.send(*_hang(spec))
    await until(lambda: worker.server.running == 1)
    await asyncio.sleep(0.05)
    caller.cancel(stream)
    async with asyncio.timeout(PATIENCE_S):
        answer = await future
    assert isinstance(answer, Answer)
    assert answer.header.reusable
    assert answer.json()["errorType"] == "Sandbox.Failure"
    assert (await caller.answer(spec, "e-1")).json()[0] == 1


async def test_a_caller_that_disconnects_cancels_its_invocations(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(COUNTER, timeout_s=30)
    await caller.answer(spec, "e-1", cold=True)
    other = await Caller.connect(worker.server.port, instance="other")
    other.send(*_hang(spec))
    await until(lambda: worker.server.running == 1)
    await other.close()
    await until(lambda: worker.server.running == 0)
    assert worker.fleet.inventory()[0].holder == "other"
    assert not worker.fleet.inventory()[0].busy
    assert (await caller.answer(spec, "e-1")).json()[0] == 1


async def test_a_sandbox_that_cannot_be_made_is_a_refusal_and_nothing_is_left(
    worker: TestWorker, caller: Caller, pool: ProcessPool
) -> None:
    pool.prepare = lambda sandbox: setattr(sandbox, "fail_start", True)
    refusal = await caller.refusal(worker.function(ECHO), "e-1", cold=True)
    assert (refusal.reason, refusal.gone) == (RefusalReason.FAILED, True)
    assert "no namespaces here" in refusal.detail
    await until(lambda: pool.made[0].destroyed)
    assert len(worker.fleet) == 0


async def test_a_sandbox_that_breaks_is_destroyed_and_said_to_be_gone(
    worker: TestWorker, caller: Caller, pool: ProcessPool
) -> None:
    spec = worker.function(COUNTER)
    await caller.answer(spec, "e-1", cold=True)
    await caller.answer(spec, "e-1", "exit")
    pool.made[0].fail_restart = True
    answer = await caller.answer(spec, "e-1")
    assert answer.json()["errorType"] == "Sandbox.Failure"
    assert not answer.header.reusable
    await until(lambda: pool.made[0].destroyed)
    assert len(worker.fleet) == 0


async def test_a_runtime_that_survives_its_kill_is_given_up(
    worker: TestWorker, caller: Caller, pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "KILL_GRACE_S", 0.2)
    spec = worker.function(COUNTER, timeout_s=1)
    await caller.answer(spec, "e-1", cold=True)
    hanging: ProcessSandbox = pool.made[0]
    hanging.hang_on_kill = True
    answer = await caller.answer(spec, "e-1", "hang", request_id="r-h")
    failed(answer, "r-h", "Sandbox.Timedout", "Task timed out after 1.00 seconds")
    assert not answer.header.reusable
    await until(lambda: hanging.destroyed)


async def test_the_log_format_json_has_platform_records(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(ECHO, log_format="JSON")
    answer = await caller.answer(spec, "e-1", cold=True, request_id="r-j")
    kinds = re.findall(r'"type":"(platform\.\w+)"', worker.logs["e-1"].text)
    assert kinds == ["platform.initStart", "platform.start", "platform.report"]
    assert "END RequestId" not in answer.tail


def _hang(spec):  # type: ignore[no-untyped-def]
    from tests.integration.worker.cluster import header_for

    payload = b'"hang"'
    return header_for(spec, "e-1", payload, cold=False), payload


async def test_an_event_that_the_sandbox_cannot_begin_ends_its_invocation_at_once_and_once(
    worker: TestWorker, caller: Caller, pool: ProcessPool
) -> None:
    spec = worker.function(ECHO, timeout_s=30)
    await caller.answer(spec, "e-1", cold=True)
    other = worker.function("import time\ndef handler(event, context):\n    time.sleep(event)\n", timeout_s=30)
    await caller.answer(other, "e-2", 0, cold=True)
    under_way = asyncio.create_task(caller.answer(other, "e-2", 2))
    await until(lambda: worker.server.running == 1)
    pool.made[0].fail_invoke = OverflowError("nobody foresaw this")
    answer = await caller.answer(spec, "e-1", request_id="r-1")
    failed(answer, "r-1", "Sandbox.Failure", "The execution environment failed")
    assert not answer.header.reusable
    assert worker.server.running == 1
    await until(lambda: pool.made[0].destroyed)
    await worker.server.drain(20)
    assert under_way.done() or (await under_way).header.function_error is None
    assert worker.server.running == 0


async def test_a_field_that_a_runtime_cannot_be_told_is_an_error_of_that_invocation_alone(
    worker: TestWorker, caller: Caller, pool: ProcessPool
) -> None:
    spec = worker.function(ECHO)
    await caller.answer(spec, "e-1", cold=True)
    pool.made[0].fail_invoke = InvalidInvocationError("its trace header has 70000 bytes, more than 65535")
    answer = await caller.answer(spec, "e-1", request_id="r-1")
    text = "The invocation cannot be given to the runtime: its trace header has 70000 bytes, more than 65535"
    failed(answer, "r-1", "Sandbox.Failure", text)
    assert answer.header.reusable
    pool.made[0].fail_invoke = None
    assert (await caller.answer(spec, "e-1", "again")).json() == "again"
    assert pool.made[0].starts == 1


async def test_whoever_subscribes_gets_what_happens_as_records_in_order(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function("def handler(event, context):\n    if event: raise ValueError('no')\n", timeout_s=5)
    await caller.answer(spec, "e-1", None, cold=True, request_id="r-1")
    await caller.answer(spec, "e-1", 1, request_id="r-2")
    init_start, init_report, start, report, second, failed_report = worker.events
    assert init_start == InitStart()
    assert isinstance(init_report, InitReport)
    assert (init_report.phase, init_report.status) == (Phase.INIT, Status.SUCCESS)
    assert isinstance(start, Start)
    assert isinstance(second, Start)
    assert (start.request_id, second.request_id) == ("r-1", "r-2")
    assert isinstance(report, Report)
    assert (report.request_id, report.status, report.memory_mb, report.max_memory_mb) == ("r-1", Status.SUCCESS, 128, 36)
    assert report.init_ms == pytest.approx(init_report.duration_ms)
    assert isinstance(failed_report, Report)
    assert (failed_report.status, failed_report.error_type) == (Status.ERROR, "Runtime.Unknown")
    talking = worker.function("def handler(event, context):\n    print('hi')\n")
    await caller.answer(talking, "e-2", cold=True)
    await until(lambda: FunctionOutput(b"hi\n") in worker.events)


def test_invocations_and_initialisations_are_counted_by_how_they_ended() -> None:
    metrics, registry = EnvironmentMetrics(), CollectorRegistry()
    registry.register(metrics)
    for status in (*Status, Status.SUCCESS):
        metrics.count(Report("r", 1.0, 1, 128, 36, None, status))
    metrics.count(InitReport(Phase.INVOKE, Status.TIMEOUT, 10.0))
    metrics.count(Start("r"))
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    assert [(sample.name, *sample.labels.values(), sample.value) for sample in samples] == [
        ("lambdad_worker_invocations_total", "error", 1),
        ("lambdad_worker_invocations_total", "failure", 1),
        ("lambdad_worker_invocations_total", "success", 2),
        ("lambdad_worker_invocations_total", "timeout", 1),
        ("lambdad_worker_initialisations_total", "invoke", "timeout", 1),
    ]


async def test_an_environment_that_has_lived_for_hours_ends_after_its_invocation_and_an_idle_one_at_once(
    worker: TestWorker, caller: Caller
) -> None:
    spec = worker.function("import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n", timeout_s=30)
    await caller.answer(spec, "e-idle", 0, cold=True)
    running = asyncio.create_task(caller.answer(spec, "e-busy", 0.5, cold=True))
    await until(lambda: any(report.environment_id == "e-busy" and report.busy for report in worker.fleet.inventory()))
    lifetimes = worker.fleet._lifetimes
    lifetimes._clock = lambda: float(10**9)
    lifetimes.check()
    await until(lambda: worker.gone == ["e-idle"])
    answer = await running
    assert (answer.json(), answer.header.reusable) == (0.5, False)
    await until(lambda: len(worker.fleet) == 0)
    assert worker.gone == ["e-idle"]
