"""The outcomes of an invocation once more, in the real sandbox with AWS's own runtime client. Expected texts are AWS's."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from services.worker import freezer
from services.worker.environment import environment as environment_module
from services.worker.environment.credentials import function_credentials
from services.worker.environment.machine import State
from services.worker.pool import SandboxPool
from services.worker.runtimes.catalogue import Catalogue
from services.worker.runtimes.variables import function_variables
from services.worker.sandbox.launched import LaunchedSandbox
from services.worker.telemetry.environment_log import LogSink
from services.worker.workspace import claim
from shared.domain.functions import VersionSpec
from tests.integration.sandbox.harness import processes_of, processor_seconds
from tests.integration.worker.cluster import Answer, Caller, TestWorker, header_for, until
from tests.support import PATIENCE_S, PYTHON

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")

COUNTER = """
import os, time
count = 0
def handler(event, context):
    global count
    count += 1
    seen = len(os.listdir("/tmp"))
    open(f"/tmp/{seen}", "w").close()
    if event == "hang":
        time.sleep(60)
    if event == "exit":
        os._exit(0)
    return [count, seen]
"""


class RealWorker(TestWorker):
    __test__ = False

    def variables(self, spec: VersionSpec, sink: LogSink) -> dict[str, str]:
        credentials = function_credentials(b"secret", spec)
        return function_variables(
            Catalogue(self.settings.worker).family(spec.runtime),
            spec,
            log_stream=sink.name,
            access_key_id=credentials.access_key_id,
            secret_access_key=credentials.secret_access_key,
            session_token=credentials.session_token,
        )

    def function(self, source: str, **changes: object) -> VersionSpec:
        return super().function(source, **({"runtime": PYTHON} | changes))


@pytest.fixture(scope="module")
async def worker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestWorker]:
    workspace = claim(tmp_path_factory.mktemp("data"), "worker-real")
    worker = RealWorker(workspace.path, None, environments_max=20, pool_size=2, pool_size_max=2, prestart_runtimes=[PYTHON])  # type: ignore[arg-type]
    pool = SandboxPool(worker.settings, Path(workspace.path))
    worker.fleet._pool = pool
    await pool.start()
    await worker.start()
    yield worker
    await worker.stop()
    await pool.close()
    workspace.release()


@pytest.fixture
async def caller(worker: TestWorker) -> AsyncIterator[Caller]:
    caller = await Caller.connect(worker.server.port)
    yield caller
    worker.fleet.stop([report.environment_id for report in worker.fleet.inventory()])
    await caller.close()


def failed(answer: Answer, request_id: str, error_type: str, text: str) -> None:
    assert answer.header.function_error == "Unhandled"
    assert answer.json() == {"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {text}"}


async def test_a_function_runs_cold_and_warm_and_its_log_is_in_the_tail(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(
        "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    print('hello', event)\n"
        "    return [count, context.aws_request_id, context.log_stream_name]\n"
    )
    cold = await caller.answer(spec, "r-1", "world", cold=True, request_id="11111111-2222-4333-8444-555555555555")
    assert cold.json() == [1, "11111111-2222-4333-8444-555555555555", worker.logs["r-1"].name]
    lines = cold.tail.splitlines()
    assert lines[:3] == [
        "START RequestId: 11111111-2222-4333-8444-555555555555 Version: $LATEST",
        "hello world",
        "END RequestId: 11111111-2222-4333-8444-555555555555",
    ]
    assert cold.header.init_ms is not None
    warm = await caller.answer(spec, "r-1", "again")
    assert warm.json()[0] == 2
    assert "hello again\nEND" in warm.tail
    assert 1 <= warm.header.max_memory_mb <= 128


async def test_a_handler_error_is_awss_document_and_the_process_lives(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(
        "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    if event: raise Exception('Handler fails')\n    return count\n"
    )
    assert (await caller.answer(spec, "r-1", None, cold=True)).json() == 1
    answer = await caller.answer(spec, "r-1", 1, request_id="11111111-2222-4333-8444-555555555555")
    assert answer.header.function_error == "Unhandled"
    document = answer.json()
    assert (document["errorMessage"], document["errorType"]) == ("Handler fails", "Exception")
    assert document["requestId"] == "11111111-2222-4333-8444-555555555555"
    assert document["stackTrace"][0].startswith('  File "/var/task/app.py", line 5, in handler\n')
    assert "[ERROR] Exception: Handler fails" in answer.tail
    assert (await caller.answer(spec, "r-1", None)).json() == 3


async def test_a_timeout_keeps_tmp_and_starts_the_module_again(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(COUNTER, timeout_s=1, memory_mb=1_769)
    assert (await caller.answer(spec, "r-1", cold=True)).json() == [1, 0]
    answer = await caller.answer(spec, "r-1", "hang", request_id="id-1")
    failed(answer, "id-1", "Sandbox.Timedout", "Task timed out after 1.00 seconds")
    assert answer.tail.endswith("\tStatus: timeout\n")
    assert (await caller.answer(spec, "r-1")).json() == [1, 2]


@pytest.mark.parametrize(
    ("statement", "text", "in_log"),
    [
        ("os._exit(0)", "Runtime exited without providing a reason", "Runtime.ExitError"),
        ("os._exit(7)", "Runtime exited with error: exit status 7", "Runtime.ExitError"),
        ("sys.exit(3)", "Runtime exited with error: exit status 3", "Runtime.ExitError"),
        ("os.kill(os.getpid(), 11)", "Runtime exited with error: signal: segmentation fault", "Runtime.ExitError"),
    ],
)
async def test_the_end_of_the_process_is_reported_as_aws_does(
    worker: TestWorker, caller: Caller, statement: str, text: str, in_log: str
) -> None:
    spec = worker.function(f"import os, sys\ndef handler(event, context):\n    if event: {statement}\n    return 'fine'\n")
    await caller.answer(spec, "r-1", cold=True)
    answer = await caller.answer(spec, "r-1", 1, request_id="id-1")
    failed(answer, "id-1", "Runtime.ExitError", text)
    assert answer.tail.endswith(f"\tStatus: error\tError Type: {in_log}\n")
    assert (await caller.answer(spec, "r-1")).json() == "fine"


async def test_running_out_of_memory_is_a_kill_to_the_caller_and_named_in_the_log(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(
        "def handler(event, context):\n    x = bytearray(event * 1024 * 1024)\n    return len(x)\n", memory_mb=256, timeout_s=15
    )
    await caller.answer(spec, "r-1", 1, cold=True)
    answer = await caller.answer(spec, "r-1", 600, request_id="id-1")
    failed(answer, "id-1", "Runtime.ExitError", "Runtime exited with error: signal: killed")
    assert answer.tail.endswith("Max Memory Used: 256 MB\tStatus: error\tError Type: Runtime.OutOfMemory\n")
    assert (await caller.answer(spec, "r-1", 1)).json() == 1024 * 1024


async def test_an_import_error_is_awss_document(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function("import nowhere_to_be_found\n")
    answer = await caller.answer(spec, "r-1", cold=True)
    assert answer.header.function_error == "Unhandled"
    document = answer.json()
    assert document["errorMessage"] == "Unable to import module 'app': No module named 'nowhere_to_be_found'"
    assert document["errorType"] == "Runtime.ImportModuleError"
    phases = re.findall(r"Phase: (\w+)\tStatus: error\tError Type: Runtime.ImportModuleError", worker.logs["r-1"].text)
    assert phases == ["init", "invoke"]


async def test_an_init_over_its_limit_repeats_in_the_invocation(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_module, "INIT_TIMEOUT_S", 0.5)
    source = "import os, time\nif not os.path.exists('/tmp/mark'):\n    open('/tmp/mark', 'w').close()\n    time.sleep(30)\n"
    spec = worker.function(source + "def handler(event, context):\n    return 'second try'\n")
    answer = await caller.answer(spec, "r-1", cold=True)
    assert answer.json() == "second try"
    assert answer.header.init_ms is None
    assert re.search(r"INIT_REPORT Init Duration: 5\d\d\.\d\d ms\tPhase: init\tStatus: timeout\n", worker.logs["r-1"].text)


async def test_six_megabytes_pass_and_one_more_byte_does_not(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(
        "def handler(event, context):\n    return event if isinstance(event, str) else 'a' * event\n", memory_mb=512
    )
    text = "a" * (6 * 1024 * 1024 - 2)
    assert (await caller.answer(spec, "r-1", text, cold=True)).json() == text
    assert len((await caller.answer(spec, "r-1", 6_291_554)).payload) == 6_291_556
    over = await caller.answer(spec, "r-1", 6_291_555)
    assert over.json()["errorType"] == "Function.ResponseSizeTooLarge"
    assert (await caller.answer(spec, "r-1", 1)).json() == "a"


async def test_cancelling_frees_the_environment_for_the_next_invocation(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(COUNTER, timeout_s=30)
    await caller.answer(spec, "r-1", cold=True)
    stream, future = caller.send(header_for(spec, "r-1", b'"hang"', cold=False), b'"hang"')
    await until(lambda: worker.server.running == 1)
    await asyncio.sleep(0.05)
    caller.cancel(stream)
    async with asyncio.timeout(PATIENCE_S):
        answer = await future
    assert isinstance(answer, Answer)
    assert answer.header.reusable
    assert (await caller.answer(spec, "r-1")).json()[0] == 1


async def test_a_runtime_that_is_not_there_is_refused_with_what_to_do(worker: TestWorker, caller: Caller) -> None:
    refusal = await caller.refusal(worker.function(COUNTER, runtime="java8.al2"), "r-1", cold=True)
    assert (refusal.reason, refusal.gone) == ("unsupported_runtime", True)
    assert "java8.al2" in refusal.detail


async def test_each_environment_has_credentials_of_its_own(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(
        "import os\ndef handler(event, context):\n    return os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_LAMBDA_LOG_STREAM_NAME']\n"
    )
    one, two = [(await caller.answer(spec, f"r-{n}", cold=True)).json() for n in (1, 2)]
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", one[0])
    assert one[0] != two[0]
    assert one[1] != two[1]


TICKING = """
import threading, time
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.005)
threading.Thread(target=tick, daemon=True).start()
def handler(event, context):
    return [max(after - before for before, after in zip(ticks, ticks[1:], strict=False)), len(ticks)]
"""


def processes_in(worker: TestWorker, environment_id: str) -> list[psutil.Process]:
    sandbox = worker.fleet._environments[environment_id]._sandbox
    assert isinstance(sandbox, LaunchedSandbox)
    return processes_of(sandbox.uid)


def state_of(worker: TestWorker, environment_id: str) -> State:
    return worker.fleet._environments[environment_id].state


async def test_what_a_function_left_running_is_frozen_until_its_next_event(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(TICKING)
    await caller.answer(spec, "r-1", cold=True)
    await until(lambda: state_of(worker, "r-1") is State.FROZEN)
    frozen = time.monotonic()
    await until(lambda: time.monotonic() > frozen + 0.3)
    pause = ticks = 0
    async with asyncio.timeout(PATIENCE_S):
        while pause < 0.29:  # The event may be there before the thread's next tick is.
            pause, ticks = (await caller.answer(spec, "r-1")).json()
        while (await caller.answer(spec, "r-1")).json()[1] <= ticks + 1:
            pass


async def test_a_function_that_is_used_all_the_time_is_not_frozen(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = worker.fleet._freezer
    looks.close()
    monkeypatch.setattr(freezer, "INTERVAL_S", 60.0)  # It looks when it is told to.
    spec = worker.function("def handler(event, context):\n    return event\n")
    await caller.answer(spec, "r-1", cold=True)
    try:
        for _ in range(4):
            await caller.answer(spec, "r-1")
            looks._step()
            assert state_of(worker, "r-1") is State.IDLE
        looks._step()
        assert state_of(worker, "r-1") is State.FROZEN
    finally:
        looks.close()


async def test_an_environment_that_ends_is_not_kept_for_it_has_yet_to_rest(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezer, "REST_AFTER_S", 3600.0)
    await caller.answer(worker.function("def handler(event, context):\n    return event\n"), "r-1", cold=True)
    tired = worker.fleet._freezer._tired
    await until(lambda: "r-1" in tired, "the environment to be frozen")
    worker.fleet.stop(["r-1"])
    assert not tired
    await until(lambda: "r-1" in worker.gone, "the environment's end")


async def test_children_that_ignore_signals_use_no_processor_after_the_answer_and_end_with_the_environment(
    worker: TestWorker, caller: Caller
) -> None:
    spec = worker.function(
        "import os, signal\ndef handler(event, context):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n        while True:\n            pass\n",
        memory_mb=1_769,
    )
    await caller.answer(spec, "r-1", cold=True)
    await until(lambda: state_of(worker, "r-1") is State.FROZEN)
    processes = processes_in(worker, "r-1")
    began, before = time.monotonic(), processor_seconds(processes)
    assert before > 0
    await until(lambda: time.monotonic() > began + 0.5)
    assert processor_seconds(processes) - before < 0.1  # The kernel rounds what it tells.
    worker.fleet.stop(["r-1"])
    await until(lambda: "r-1" in worker.gone)


async def test_a_runtime_that_timed_out_is_started_again_after_it_was_frozen(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(COUNTER, timeout_s=1, memory_mb=1_769)
    await caller.answer(spec, "r-1", "hang", cold=True)
    await until(lambda: state_of(worker, "r-1") is State.FROZEN)
    assert (await caller.answer(spec, "r-1")).json()[0] == 1
