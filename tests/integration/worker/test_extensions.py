"""Extensions in real sandboxes: what they are told, who waits for them, how they fail. Texts are AWS's."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from services.worker import freezer
from services.worker.environment.machine import State
from services.worker.sandbox import extension_host
from services.worker.sandbox.runtime_api.extensions import phases
from services.worker.telemetry.events import Report, Status
from tests.integration.sandbox.harness import processes_of
from tests.integration.sandbox.test_provided import BOOTSTRAP
from tests.integration.worker.cluster import Answer, Caller, TestWorker, header_for, until
from tests.integration.worker.extensions import LISTENS, extension
from tests.integration.worker.test_real_sandbox import caller, worker
from tests.support import PATIENCE_S

__all__ = ["caller", "worker"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")

ECHO = """
import os
starts = open("/tmp/starts", "a").write("s") and os.path.getsize("/tmp/starts")
def handler(event, context):
    if event == "exit":
        os._exit(3)
    if event == "hang":
        import time; time.sleep(60)
    return [event, starts]
"""
ID = "11111111-2222-4333-8444-555555555555"


def extended(worker: TestWorker, *programs: str, source: str = ECHO, **changes: Any) -> Any:
    files = {f"extensions/ext-{number}": program for number, program in enumerate(programs, 1)}
    return worker.with_layer(worker.function(source, **changes), files)


async def untailed(caller: Caller, spec: Any, environment_id: str, event: Any = None) -> tuple[int, Answer]:
    """An invocation whose caller does not wait for the log, and so not for extensions. Its stream, its answer."""
    payload = b"null" if event is None else event
    stream, answer = caller.send(header_for(spec, environment_id, payload, cold=False, log_tail=False), payload)
    async with asyncio.timeout(PATIENCE_S):
        got = await answer
    assert isinstance(got, Answer), got
    return stream, got


def log_of(worker: TestWorker, environment_id: str) -> str:
    return worker.logs[environment_id].text


async def ended(worker: TestWorker, environment_id: str) -> None:
    worker.fleet.stop([environment_id])
    await until(lambda: environment_id in worker.gone, "the environment's end")


async def test_an_extension_is_told_of_invocations_and_of_the_end(worker: TestWorker, caller: Caller) -> None:
    spec = extended(worker, LISTENS)
    cold = await caller.answer(spec, "e-1", 1, cold=True, request_id=ID)
    assert cold.json() == [1, 1]
    warm = await caller.answer(spec, "e-1", 2)
    assert warm.json() == [2, 1]
    assert (cold.header.settling, cold.header.reusable) == (False, True)
    await ended(worker, "e-1")
    log = log_of(worker, "e-1")
    lines = log.splitlines()
    assert lines[0].startswith("INIT_START Runtime Version: ")
    assert lines[1] == "EXTENSION\tName: ext-1\tState: Ready\tEvents: [INVOKE, SHUTDOWN]"
    assert lines[2] == f"START RequestId: {ID} Version: $LATEST"
    assert f"ext-1 INVOKE {ID}\n" in log
    assert log.index("ext-1 INVOKE") < log.index("END RequestId")
    assert log.endswith("ext-1 SHUTDOWN spindown\next-1 has True\n")


CALLS = extension(
    """
answers = []
def tell(what, answer):
    status, headers, body = answer
    say(what, status, json.dumps(body))
REGISTER = "/2020-01-01/extension/register"
tell("no name", call("POST", REGISTER, {"events": []}))
tell("bad event", register("WAKE"))
tell("no JSON", (lambda api: (api.request("POST", REGISTER, "{", {"Lambda-Extension-Name": NAME}),
                              (lambda a: (a.status, {}, {"errorType": json.loads(a.read())["errorType"]}))(api.getresponse()))[1])(
    http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])))
tell("internal", register("SHUTDOWN", name="inside"))
NEXT = "/2020-01-01/extension/event/next"
tell("no id", call("GET", NEXT))
tell("bad id", call("GET", NEXT, headers={"Lambda-Extension-Identifier": "mine"}))
tell("unknown", call("GET", NEXT, headers={"Lambda-Extension-Identifier": "00000000-0000-4000-8000-000000000000"}))
status, headers, body = register("INVOKE", **{"Lambda-Extension-Accept-Feature": "other, accountId"})
tell("registered", (status, headers, body))
mine = IDENTIFIER
tell("twice", register("INVOKE"))
IDENTIFIER = mine
tell("no type", call("POST", "/2020-01-01/extension/init/error", {}))
tell("wrong path", call("GET", "/2020-01-01/extension/event"))
tell("wrong method", call("POST", NEXT))
while True:
    event = following()
    say("keys", *sorted(event))
    tell("late", register(name="late"))
    IDENTIFIER = mine
    tell("init error", call("POST", "/2020-01-01/extension/init/error", {}, {"Lambda-Extension-Function-Error-Type": "A.B"}))
"""
)


def told(worker: TestWorker, environment_id: str) -> dict[str, tuple[int, Any]]:
    """What an extension told of the answers that it got."""
    found = re.findall(r"^ext-1 (.+) (\d{3}) (.+)$", log_of(worker, environment_id), re.MULTILINE)
    return {what: (int(status), json.loads(body)) for what, status, body in found}


async def test_calls_that_are_wrong_are_refused_as_on_aws(worker: TestWorker, caller: Caller) -> None:
    spec = extended(worker, CALLS)
    await caller.answer(spec, "e-2", 1, cold=True)
    answers = told(worker, "e-2")

    def refused(what: str, error_type: str, message: str) -> None:
        assert answers[what] == (403, {"errorMessage": message, "errorType": error_type}), what

    refused("no name", "Extension.InvalidExtensionName", "Empty extension name")
    refused("bad event", "Extension.InvalidEventType", "WAKE: ErrorInvalidEventType")
    refused("internal", "Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension")
    refused("no id", "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
    refused("bad id", "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
    refused(
        "unknown",
        "Extension.UnknownExtensionIdentifier",
        "Unknown extension 00000000-0000-4000-8000-000000000000",
    )
    refused("twice", "Extension.InvalidExtensionState", "Extension with this name already registered")
    refused("no type", "Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")
    refused("late", "Extension.RegistrationClosed", "Extension registration closed already")
    assert answers["no JSON"] == (403, {"errorType": "InvalidRequestFormat"})
    assert answers["wrong path"][0] == 404
    assert answers["wrong method"][0] == 405
    assert answers["registered"] == (
        200,
        {"functionName": "greeter", "functionVersion": "$LATEST", "handler": "app.handler", "accountId": "000000000000"},
    )
    status, error = answers["init error"]
    assert (status, error["errorType"]) == (403, "Extension.InvalidExtensionState")
    assert error["errorMessage"].startswith("State transition from Running to InitError failed for extension ")
    assert "ext-1 keys deadlineMs eventType invokedFunctionArn requestId tracing\n" in log_of(worker, "e-2")


REGISTERS_MANY = """
import http.client, json, os, threading
API = os.environ["AWS_LAMBDA_RUNTIME_API"]
def call(method, path, headers, body=None):
    api = http.client.HTTPConnection(API)
    api.request(method, path, body, headers)
    answer = api.getresponse()
    return answer.status, answer.headers, json.loads(answer.read())
seen, got = [], []
def follow(identifier):
    while True:
        got.append(call("GET", "/2020-01-01/extension/event/next", {"Lambda-Extension-Identifier": identifier})[2]["eventType"])
for number in range(11):
    events = ["INVOKE"] if number == 0 else []
    status, headers, body = call("POST", "/2020-01-01/extension/register", {"Lambda-Extension-Name": f"in-{number}"},
                                 json.dumps({"events": events}))
    seen.append([status, body.get("errorType"), body.get("errorMessage")])
    if status == 200:
        threading.Thread(target=follow, args=[headers["Lambda-Extension-Identifier"]], daemon=True).start()
def handler(event, context):
    while event is None and not got:
        pass
    return [seen, got]
"""


async def test_ten_internal_extensions_may_register_and_the_eleventh_is_refused(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(REGISTERS_MANY)
    seen, got = (await caller.answer(spec, "e-3", cold=True)).json()
    assert seen[:10] == [[200, None, None]] * 10
    assert seen[10] == [403, "Extension.TooManyExtensions", "Extension limit (10) reached"]
    assert got == ["INVOKE"]
    assert "EXTENSION\tName: in-9\tState: Ready\tEvents: []\n" in log_of(worker, "e-3")


async def test_ten_programs_are_extensions_and_the_eleventh_is_refused(worker: TestWorker, caller: Caller) -> None:
    """The first by name are started, one more than may register: that there are too many is told."""
    counted = extension(
        'status, _, body = register()\nif status != 200:\n    say("refused", status, json.dumps(body))\n    sys.exit(1)\n'
        "following()\n"
    )
    ten = extended(worker, *[counted] * 10, memory_mb=1_024)
    assert (await caller.answer(ten, "e-18", 1, cold=True)).json() == [1, 1]
    assert (
        len(re.findall(r"^EXTENSION\tName: ext-\d+\tState: Ready\tEvents: \[\]$", log_of(worker, "e-18"), re.MULTILINE)) == 10
    )
    twelve = extended(worker, *[counted] * 12, memory_mb=1_024)
    answer = await caller.answer(twelve, "e-19", 1, cold=True, request_id=ID)
    assert answer.json() == {"errorType": "Extension.Crash", "errorMessage": f"RequestId: {ID} Error: exit status 1"}
    log = log_of(worker, "e-19")
    refused = re.findall(r"^ext-\d+ refused (\d+) (.+)$", log, re.MULTILINE)
    error = {"errorMessage": "Extension limit (10) reached", "errorType": "Extension.TooManyExtensions"}
    assert [(int(status), json.loads(body)) for status, body in refused] == [(403, error)] * 2, (
        "once, and when all is tried again"
    )
    assert "ext-9 " not in log, "the last by name was not started"


def let_go_on(pid: int, uid: int) -> None:
    path = f"/proc/{pid}/root/tmp/go-on"
    os.close(os.open(path + ".made", os.O_CREAT | os.O_EXCL, 0o600))
    os.chown(path + ".made", uid, uid)
    os.rename(path + ".made", path)


async def test_the_answer_does_not_wait_for_extensions_and_the_next_event_does(worker: TestWorker, caller: Caller) -> None:
    slow = extension(
        """
register("INVOKE")
while True:
    event = following()
    while not os.path.exists("/tmp/go-on"):
        time.sleep(0.002)
    os.unlink("/tmp/go-on")
    say("done with", event["requestId"])
"""
    )
    source = "import pathlib\ndef handler(event, context):\n    if event:\n        pathlib.Path('/tmp/go-on').touch()\n    return event\n"
    spec = extended(worker, slow, source=source, timeout_s=20)
    assert (await caller.answer(spec, "e-4", True, cold=True)).header.reusable
    stream, answer = await untailed(caller, spec, "e-4")
    assert (answer.json(), answer.header.settling, answer.header.reusable) == (None, True, False)
    assert log_of(worker, "e-4").count("REPORT") == 1, "it is not over"
    busy = await caller.refusal(spec, "e-4", fence=2)
    assert busy.reason == "busy"
    sandbox = worker.fleet._environments["e-4"]._sandbox
    assert sandbox is not None
    (child,) = [each for each in processes_of(sandbox.uid) if "extensions" in " ".join(each.cmdline())]
    let_go_on(child.pid, sandbox.uid)
    await until(lambda: stream in caller.settled, "what follows the answer")
    assert caller.settled[stream].reusable
    log = log_of(worker, "e-4")
    assert log.count("REPORT") == 2
    assert log.rindex("ext-1 done with") < log.rindex("REPORT")
    assert "Error Type" not in log
    report = [event for event in worker.events if isinstance(event, Report)][-1]
    assert report.duration_ms > answer.header.duration_ms
    assert report.billed_ms >= report.duration_ms
    assert (await caller.answer(spec, "e-4", True)).json() is True


async def test_an_extension_that_never_asks_again_runs_into_the_functions_timeout(worker: TestWorker, caller: Caller) -> None:
    stuck = extension('register("INVOKE")\nfollowing()\n') + (
        'if not os.path.exists("/tmp/second"):\n    open("/tmp/second", "w").close()\n    signal.pause()\n'
        "while True:\n    following()\n"
    )
    # In which the next invocation has to start the runtime and the extension anew, too, by the share that its memory has.
    spec = extended(worker, stuck, timeout_s=4, memory_mb=1_769)
    payload = b"1"
    stream, waiting = caller.send(header_for(spec, "e-5", payload, cold=True, log_tail=False), payload)
    answer = await waiting
    assert isinstance(answer, Answer)
    assert (answer.header.function_error, answer.header.settling) == (None, True)
    await until(lambda: stream in caller.settled, "the end of the invocation")
    assert caller.settled[stream].reusable
    report = [event for event in worker.events if isinstance(event, Report)][-1]
    assert (report.status, report.duration_ms) == (Status.TIMEOUT, 4_000.0)
    again = await caller.answer(spec, "e-5", 2)
    assert again.json() == [2, 2], "everything starts anew, /tmp stays"


async def test_what_an_extension_wrote_of_an_event_is_in_its_log_before_the_event_is_over(
    worker: TestWorker, caller: Caller
) -> None:
    """Also when the worker hears first that it asks for the next event."""
    writes = 'register("INVOKE")\nwhile True:\n    event = following()\n    say("done with", event["requestId"])\n'
    spec = extended(worker, extension(writes))
    await caller.answer(spec, "e-25", 1, cold=True)
    output = worker.fleet._environments["e-25"]._sandbox._host._output  # type: ignore[union-attr]
    output._loop.remove_reader(output._read_fd)
    await caller.answer(spec, "e-25", 2)
    log = log_of(worker, "e-25")
    assert log.count("ext-1 done with") == 2
    assert log.rindex("ext-1 done with") < log.rindex("END RequestId")


async def test_lines_of_a_function_and_of_its_extensions_do_not_mix(worker: TestWorker, caller: Caller) -> None:
    says = 'register("INVOKE")\nwhile True:\n    following()\n    for n in range(300):\n        say("at", n)\n        time.sleep(0.001)\n'
    source = (
        "import time\ndef handler(event, context):\n    for n in range(300):\n"
        "        print('hello', n, 'times')\n        time.sleep(0.001)\n    print('the last one', end='')\n"
    )
    await caller.answer(extended(worker, extension(says), source=source, timeout_s=20), "e-26", cold=True)
    lines = log_of(worker, "e-26").splitlines()
    assert [line for line in lines if line.startswith("ext-1")] == [f"ext-1 at {n}" for n in range(300)]
    hello = [line for line in lines if not re.match("INIT_START|EXTENSION|START|END|REPORT|ext-1", line)]
    assert hello == [*(f"hello {n} times" for n in range(300)), "the last one"]


@pytest.mark.parametrize(
    ("end", "error_type", "text"),
    [
        ("sys.exit(1)", "Extension.Crash", "exit status 1"),
        ("sys.exit(0)", "Extension.Crash", "exit code 0"),
        ("os.kill(os.getpid(), 9)", "Extension.Crash", "signal: killed"),
        (
            'register(); call("POST", "/2020-01-01/extension/init/error", {}, {"Lambda-Extension-Function-Error-Type": "Mine.Bad"})',
            "Extension.InitError",
            "exit code 0",
        ),
        (
            'register(); call("POST", "/2020-01-01/extension/exit/error", {}, {"Lambda-Extension-Function-Error-Type": "Mine.Bad"})',
            "Extension.ExitError",
            "exit code 0",
        ),
    ],
)
async def test_an_extension_that_fails_to_initialise_fails_the_invocation(
    worker: TestWorker, caller: Caller, end: str, error_type: str, text: str
) -> None:
    spec = extended(worker, extension(end + "\n"))
    environment_id = f"e-6-{abs(hash(end))}"
    answer = await caller.answer(spec, environment_id, 1, cold=True, request_id=ID)
    assert answer.json() == {"errorType": error_type, "errorMessage": f"RequestId: {ID} Error: {text}"}
    log = log_of(worker, environment_id)
    init, again = re.findall(r"^INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: (\w+)\tStatus: (.+)$", log, re.MULTILINE)
    assert init == ("init", f"error\tError Type: {error_type}")
    assert again == ("invoke", f"error\tError Type: {error_type}")
    assert f"Status: error\tError Type: {error_type}\n" in log
    if error_type != "Extension.Crash":
        state = error_type.removeprefix("Extension.")
        assert f"EXTENSION\tName: ext-1\tState: {state}\tEvents: []\tError Type: Mine.Bad\n" in log
    assert "START" in log, "the function itself never began"


async def test_an_extension_that_cannot_be_executed_is_named(worker: TestWorker, caller: Caller) -> None:
    spec = extended(worker, "\x7fELF of another machine")
    answer = await caller.answer(spec, "e-7", 1, cold=True, request_id=ID)
    assert answer.json() == {
        "errorType": "Extension.LaunchError",
        "errorMessage": f"RequestId: {ID} Error: fork/exec /opt/extensions/ext-1: exec format error",
    }
    assert "EXTENSION\tName: ext-1\tState: LaunchError\tEvents: []\tError Type: UnknownError\n" in log_of(worker, "e-7")


async def test_files_that_are_no_programs_are_no_extensions(worker: TestWorker, caller: Caller) -> None:
    spec = worker.with_layer(worker.function(ECHO), {"extensions/folder/deep": LISTENS})
    assert (await caller.answer(spec, "e-8", 1, cold=True)).json() == [1, 1]
    assert "EXTENSION" not in log_of(worker, "e-8")


CRASHES = extension(
    """
register("INVOKE", "SHUTDOWN")
while True:
    event = following()
    if event["eventType"] == "INVOKE" and not os.path.exists("/tmp/crashed"):
        open("/tmp/crashed", "w").close()
        sys.exit(7)
"""
)


async def test_an_extension_that_ends_during_an_invocation_fails_it_and_everything_starts_anew(
    worker: TestWorker, caller: Caller
) -> None:
    spec = extended(worker, CRASHES, LISTENS, timeout_s=20)
    answer = await caller.answer(spec, "e-9", "hang", cold=True, request_id=ID)
    assert answer.json() == {"errorType": "Extension.Crash", "errorMessage": f"RequestId: {ID} Error: exit status 7"}
    log = log_of(worker, "e-9")
    assert "EXTENSION\tName: ext-1\tState: Running\tEvents: [INVOKE, SHUTDOWN]\n" in log
    assert "ext-2 SHUTDOWN failure\n" in log, "the other one is told"
    assert log.rstrip().endswith("Status: error\tError Type: Extension.Crash")
    assert (await caller.answer(spec, "e-9", 5)).json() == [5, 2]


@pytest.fixture
def never_frozen(worker: TestWorker, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What an extension does while nothing runs, it does in its own time."""
    worker.fleet._freezer.close()
    monkeypatch.setattr(freezer, "INTERVAL_S", 3_600.0)
    yield
    worker.fleet._freezer.close()


GIVES_UP = """
def give_up():
    open("/tmp/gave-up", "w").close()
    headers = {"Lambda-Extension-Function-Error-Type": "Mine.Gone"}
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    say("exit error", *map(json.dumps, call("POST", "/2020-01-01/extension/exit/error", {}, headers, api)[::2]))
    os._exit(9)
"""
GAVE_UP = "EXTENSION\tName: ext-1\tState: ExitError\tEvents: [INVOKE]\tError Type: Mine.Gone\n"


async def test_an_extension_that_says_that_it_fails_ends_its_invocation_and_everything_starts_anew(
    worker: TestWorker, caller: Caller
) -> None:
    fails = extension(
        GIVES_UP
        + 'register("INVOKE")\nwhile True:\n    following()\n    if not os.path.exists("/tmp/gave-up"):\n        give_up()\n'
    )
    spec = extended(worker, fails, timeout_s=20)
    answer = await caller.answer(spec, "e-20", "hang", cold=True, request_id=ID)
    assert answer.json() == {"errorType": "Extension.ExitError", "errorMessage": f"RequestId: {ID} Error: exit status 9"}
    log = log_of(worker, "e-20")
    assert told(worker, "e-20") == {"exit error": (202, {"status": "OK"})}
    assert log.count(GAVE_UP) == 1
    assert log.rstrip().endswith("Status: error\tError Type: Extension.ExitError")
    assert (await caller.answer(spec, "e-20", 5)).json() == [5, 2]


async def test_an_extension_that_says_that_it_fails_while_nothing_runs_costs_the_next_event_nothing_but_time(
    worker: TestWorker, caller: Caller, never_frozen: None
) -> None:
    fails = extension(
        GIVES_UP
        + """
register("INVOKE")
def wait():
    while not os.path.exists("/tmp/go-on"):
        time.sleep(0.002)
    give_up()
if not os.path.exists("/tmp/gave-up"):
    threading.Thread(target=wait).start()
while True:
    following()
"""
    )
    spec = extended(worker, fails)
    assert (await caller.answer(spec, "e-21", 1, cold=True)).header.reusable
    sandbox = worker.fleet._environments["e-21"]._sandbox
    assert sandbox is not None
    (child,) = [each for each in processes_of(sandbox.uid) if "extensions" in " ".join(each.cmdline())]
    let_go_on(child.pid, sandbox.uid)
    await until(lambda: GAVE_UP in log_of(worker, "e-21"), "the extension's error")
    again = await caller.answer(spec, "e-21", 2)
    assert (again.header.function_error, again.json()) == (None, [2, 2])
    assert told(worker, "e-21") == {"exit error": (202, {"status": "OK"})}


@pytest.mark.parametrize(
    ("event", "reason", "error_type"), [("hang", "timeout", "Sandbox.Timedout"), ("exit", "failure", "Runtime.ExitError")]
)
async def test_extensions_are_told_why_an_environment_is_reset(
    worker: TestWorker, caller: Caller, event: str, reason: str, error_type: str
) -> None:
    spec = extended(worker, LISTENS, memory_mb=1_769, timeout_s=3 if event == "hang" else 20)
    environment_id = f"e-10-{event}"
    await caller.answer(spec, environment_id, 1, cold=True)
    stream, answer = await untailed(caller, spec, environment_id, json.dumps(event).encode())
    assert (answer.json()["errorType"], answer.header.settling) == (error_type, True)
    await until(lambda: stream in caller.settled, "the end")
    assert f"ext-1 SHUTDOWN {reason}\next-1 has True\n" in log_of(worker, environment_id)
    assert (await caller.answer(spec, environment_id, 2)).json() == [2, 2]


INTERNAL = """
import http.client, os, threading
def takes_part():
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request("POST", "/2020-01-01/extension/register", '{"events": ["INVOKE"]}', {"Lambda-Extension-Name": "inside"})
    answer = api.getresponse()
    answer.read()
    headers = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
    def follow():
        while True:
            api.request("GET", "/2020-01-01/extension/event/next", headers=headers)
            api.getresponse().read()
    threading.Thread(target=follow, daemon=True).start()
takes_part()
"""
"""The head of a function that has an internal extension."""


@pytest.mark.parametrize("external", [True, False])
async def test_the_runtime_is_asked_to_end_and_before_its_extensions_are_told(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch, external: bool
) -> None:
    for module, name in ((extension_host, "RUNTIME_SHARE_S"), (extension_host, "INTERNAL_S"), (phases, "EXTERNAL_S")):
        monkeypatch.setattr(module, name, PATIENCE_S)
    source = (
        "import signal, sys\n"
        "def end(*_):\n    print('ended with care', flush=True)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "def handler(event, context):\n    return event\n"
    )
    spec = extended(worker, LISTENS, source=source) if external else worker.function(INTERNAL + source)
    environment_id = f"e-11-{external}"
    await caller.answer(spec, environment_id, 1, cold=True)
    await ended(worker, environment_id)
    following = r"ext-1 SHUTDOWN spindown\n" if external else "$"
    assert re.search(rf"ended with care\n{following}", log_of(worker, environment_id))


async def test_a_runtime_that_was_long_in_getting_ready_may_have_an_internal_extension(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It failed to before it registered, and then nothing was asked of it for a while."""
    monkeypatch.setattr(extension_host, "INTERNAL_S", PATIENCE_S)
    source = (
        "import os, signal, sys\n"
        "os.close(os.open(f'/tmp/start-{len(os.listdir(\"/tmp\"))}', os.O_CREAT))\n"
        "if len(os.listdir('/tmp')) < 3:\n    raise OSError('away')\n"
        f"{INTERNAL}"
        "def end(*_):\n    print('ended with care', flush=True)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "def handler(event, context):\n    return event\n"
    )
    spec = worker.function(source)
    assert (await caller.answer(spec, "e-24", 1, cold=True)).header.function_error == "Unhandled"
    environment = worker.fleet._environments["e-24"]
    await until(lambda: environment.state is State.FROZEN, "the environment to be frozen")
    environment.rest()
    assert (await caller.answer(spec, "e-24", 2)).json() == 2
    await ended(worker, "e-24")
    assert log_of(worker, "e-24").endswith("ended with care\n")


IGNORES = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("/tmp/runtime", "w").write(str(os.getpid()))
def handler(event, context):
    return event
"""


def test_the_time_to_shut_down_is_awss() -> None:
    assert (phases.EXTERNAL_S, phases.INTERNAL_S, phases.RUNTIME_SHARE_S) == (2.0, 0.5, 0.3)


async def test_a_runtime_that_does_not_end_is_killed_after_its_share_of_the_time_that_external_extensions_have(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension_host, "INTERNAL_S", 3_600.0)  # It is not what counts.
    looks = extension(
        """
register("SHUTDOWN")
event = following()
say("has", event["deadlineMs"] - int(time.time() * 1000))
runtime = int(open("/tmp/runtime").read())
try:
    while True:
        os.kill(runtime, 0)
        time.sleep(0.001)
except ProcessLookupError:
    say("the runtime is gone")
"""
    )
    spec = extended(worker, looks, source=IGNORES)
    await caller.answer(spec, "e-22", 1, cold=True)
    began = time.monotonic()
    await ended(worker, "e-22")
    assert time.monotonic() - began >= 0.29
    log = log_of(worker, "e-22")
    has = re.search(r"^ext-1 has (-?\d+)\next-1 the runtime is gone$", log, re.MULTILINE)
    assert has is not None, log
    assert int(has[1]) <= 1_702, "of 2,000 ms, 300 were the runtime's, and before it was told"


async def test_a_runtime_that_does_not_end_is_killed_after_the_time_that_internal_extensions_have(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extension_host, "RUNTIME_SHARE_S", 3_600.0)  # It is not what counts.
    await caller.answer(worker.function(INTERNAL + IGNORES), "e-23", 1, cold=True)
    sandbox = worker.fleet._environments["e-23"]._sandbox
    assert sandbox is not None
    began = time.monotonic()
    worker.fleet.stop(["e-23"])
    await until(lambda: not processes_of(sandbox.uid), "the runtime's end")
    assert time.monotonic() - began >= 0.49
    await until(lambda: "e-23" in worker.gone, "the environment's end")


async def test_an_extension_that_does_not_end_is_killed_after_two_seconds(worker: TestWorker, caller: Caller) -> None:
    stays = extension(
        'register("SHUTDOWN")\nfollowing()\nsay("stays")\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.pause()\n'
    )
    spec = extended(worker, stays)
    await caller.answer(spec, "e-12", 1, cold=True)
    began = time.monotonic()
    await ended(worker, "e-12")
    took_s = time.monotonic() - began
    assert took_s > 1.9
    assert log_of(worker, "e-12").endswith("ext-1 stays\n")


async def test_without_extensions_the_runtime_gets_no_time_to_end(worker: TestWorker, caller: Caller) -> None:
    source = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))\n"
        "def handler(event, context):\n    return event\n"
    )
    spec = worker.function(source)
    await caller.answer(spec, "e-13", 1, cold=True)
    await ended(worker, "e-13")
    assert "asked" not in log_of(worker, "e-13")


async def test_an_environment_with_extensions_is_frozen_while_nothing_runs_and_thawed_for_its_end(
    worker: TestWorker, caller: Caller
) -> None:
    spec = extended(worker, LISTENS)
    await caller.answer(spec, "e-14", 1, cold=True)
    environment = worker.fleet._environments["e-14"]
    await until(lambda: environment.state is State.FROZEN, "the environment to be frozen")
    assert (await caller.answer(spec, "e-14", 2)).json() == [2, 1]
    await until(lambda: environment.state is State.FROZEN, "the environment to be frozen again")
    await ended(worker, "e-14")
    assert "ext-1 SHUTDOWN spindown\n" in log_of(worker, "e-14")


async def test_external_extensions_have_the_functions_variables_but_for_the_runtimes_own(
    worker: TestWorker, caller: Caller
) -> None:
    says = extension('register()\nsay("has", json.dumps(dict(os.environ)), os.getcwd(), os.getuid() > 0)\nfollowing()\n')
    spec = extended(worker, says, environment={"MINE": "yes"})
    await caller.answer(spec, "e-15", 1, cold=True)
    found = re.search(r"^ext-1 has (\{.*\}) / True$", log_of(worker, "e-15"), re.MULTILINE)
    assert found is not None
    variables = json.loads(found[1])
    assert variables["MINE"] == "yes"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "greeter"
    assert {"AWS_ACCESS_KEY_ID", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "PATH", "LD_LIBRARY_PATH"} <= set(variables)
    assert not {"_HANDLER", "LAMBDA_TASK_ROOT", "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME"} & set(variables)


@pytest.mark.parametrize("runtime", ["provided", pytest.param("nodejs", marks=pytest.mark.needs("nodejs20.x"))])
async def test_extensions_extend_runtimes_that_speak_the_runtime_api(worker: TestWorker, caller: Caller, runtime: str) -> None:
    if runtime == "provided":
        spec = worker.program(BOOTSTRAP, handler="free")
    else:
        spec = worker.program("exports.handler = async event => event;", "app.js", runtime="nodejs20.x")
    spec = worker.with_layer(spec, {"extensions/ext-1": LISTENS})
    environment_id = f"e-16-{runtime}"
    for number in range(3):
        answer = await caller.answer(spec, environment_id, number, cold=number == 0)
        assert answer.header.function_error is None, answer.payload
    log = log_of(worker, environment_id)
    assert log.count("ext-1 INVOKE") == 3
    await ended(worker, environment_id)
    assert "ext-1 SHUTDOWN spindown" in log_of(worker, environment_id)


async def test_an_extension_that_ended_while_nothing_ran_costs_the_next_event_nothing_but_time(
    worker: TestWorker, caller: Caller, never_frozen: None
) -> None:
    ends = extension(
        'register("INVOKE")\nfollowing()\n'
        'if not os.path.exists("/tmp/ended"):\n'
        '    open("/tmp/ended", "w").close()\n    threading.Timer(0.01, os._exit, [1]).start()\n'
        "while True:\n    following()\n"
    )
    spec = extended(worker, ends)
    await caller.answer(spec, "e-17", 1, cold=True)
    sandbox = worker.fleet._environments["e-17"]._sandbox
    assert sandbox is not None
    await until(lambda: not sandbox.alive, "the end of the extension")
    again = await caller.answer(spec, "e-17", 2)
    assert (again.header.function_error, again.json()) == (None, [2, 2])
