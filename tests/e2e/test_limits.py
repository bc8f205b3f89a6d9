"""Every limit of a function, broken by a function: what its caller and its log then say, in AWS's words."""

from __future__ import annotations

import base64
import io
import json
import re
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.e2e.conftest import MakeFunction
from tests.support import ROLE, wait_until, zip_of

_REPORT = re.compile(
    r"REPORT RequestId: (?P<id>[0-9a-f-]{36})\tDuration: (?P<duration>\d+\.\d\d) ms\tBilled Duration: (?P<billed>\d+) ms\t"
    r"Memory Size: (?P<size>\d+) MB\tMax Memory Used: (?P<used>\d+) MB\t(?P<rest>.*)\n"
)


def called(client: Any, name: str, event: object = None) -> tuple[Any, re.Match[str]]:
    """(what the caller gets, the REPORT line of its log)."""
    reply = client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
    tail = base64.b64decode(reply["LogResult"]).decode()
    report = _REPORT.search(tail)
    assert report is not None, tail
    assert report["id"] == reply["ResponseMetadata"]["RequestId"]
    return json.loads(reply["Payload"].read()), report


def refused(client: Any, **parameters: Any) -> str:
    """What CreateFunction says to them."""
    parameters = {"Code": {"ZipFile": zip_of({"app.py": ""})}, "Runtime": "python3.12", **parameters}
    with pytest.raises(ClientError) as error:
        client.create_function(FunctionName="never-made", Handler="app.handler", Role=ROLE, **parameters)
    return str(error.value.response["Error"]["Message"])


# Memory

_HOLD = (
    "import time\nheld = []\ndef handler(event, context):\n    held.append(bytearray(event << 20))\n    time.sleep(event and 0.3)\n"
    "    return context.memory_limit_in_mb\n"
)
"""Long enough to be seen by what looks after some milliseconds."""


def test_memory_used_is_that_of_the_runtime_and_of_what_the_function_holds(client: Any, make_function: MakeFunction) -> None:
    name = make_function(_HOLD, MemorySize=256)
    limit, report = called(client, name, 0)
    alone = int(report["used"])
    assert limit == report["size"] == "256"
    assert 20 <= alone <= 60, "an interpreter with the runtime client"
    _, report = called(client, name, 100)
    assert alone + 100 <= int(report["used"]) <= alone + 110


def test_more_memory_than_configured_is_a_kill_and_all_of_it_was_used(client: Any, make_function: MakeFunction) -> None:
    name = make_function(_HOLD, MemorySize=129, Timeout=20)
    assert called(client, name, 60)[0] == "129"
    error, report = called(client, name, 200)
    assert error == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {report['id']} Error: Runtime exited with error: signal: killed",
    }
    assert (report["size"], report["used"]) == ("129", "129")
    assert report["rest"] == "Status: error\tError Type: Runtime.OutOfMemory"
    assert called(client, name, 0)[0] == "129", "the next runtime has it all again"


def test_the_runtimes_own_memory_is_part_of_what_is_configured(client: Any, make_function: MakeFunction) -> None:
    name = make_function(_HOLD, MemorySize=512, Timeout=20)
    alone = int(called(client, name, 0)[1]["used"])
    assert called(client, name, 512 - alone - 12)[0] == "512"
    assert called(client, name, 24)[1]["rest"] == "Status: error\tError Type: Runtime.OutOfMemory"


@pytest.mark.needs("nodejs20.x")
def test_a_runtime_of_nodejs_alone_is_told_of_as_well(client: Any, make_function: MakeFunction) -> None:
    name = make_function("export const handler = async () => 1;\n", runtime="nodejs20.x", MemorySize=256)
    assert 30 <= int(called(client, name)[1]["used"]) <= 90


@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        (
            "MemorySize",
            127,
            "Value '127' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128",
        ),
        (
            "MemorySize",
            10_241,
            "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240",
        ),
        (
            "Timeout",
            0,
            "Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            "Timeout",
            901,
            "Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
        ),
        (
            "EphemeralStorage",
            {"Size": 511},
            "Value '511' at 'ephemeralStorage.size' failed to satisfy constraint: Member must have value greater than or equal to 512",
        ),
        (
            "EphemeralStorage",
            {"Size": 10_241},
            "'EphemeralStorage' value failed to satisfy constraint: Member must have value less than or equal to 10240",
        ),
    ],
)
def test_what_cannot_be_configured_is_refused(cluster: Any, parameter: str, value: object, said: str) -> None:
    assert said in refused(_unchecked(cluster), **{parameter: value})


def _unchecked(cluster: Any) -> Any:
    """A client that sends what its own model forbids."""
    return boto3.client(
        "lambda",
        endpoint_url=cluster.endpoint,
        region_name="us-east-1",
        aws_access_key_id=cluster.access_key_id,
        aws_secret_access_key=cluster.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


def test_the_largest_function_is_given_all_that_is_configured(client: Any, make_function: MakeFunction) -> None:
    source = (
        "import os\ndef handler(event, context):\n    tmp = os.statvfs('/tmp')\n"
        "    seen = [line.split()[1] for line in open('/proc/meminfo') if line.startswith('MemTotal')]\n"
        "    return [context.memory_limit_in_mb, int(seen[0]) // 1024, tmp.f_blocks * tmp.f_frsize >> 20]\n"
    )
    name = make_function(source, MemorySize=10_240, EphemeralStorage={"Size": 10_240}, Timeout=900)
    assert called(client, name)[0] == ["10240", 10_240, 10_240]


# CPU

TRIES_MAX = 5

_BURN = (
    "import os, time\ndef burn(seconds):\n    end = time.process_time() + seconds\n    while time.process_time() < end:\n        pass\n"
    "began = time.monotonic()\nburn(0.2)\ninit = time.monotonic() - began\n"
    "def handler(event, context):\n    began, before = time.monotonic(), os.times()\n    children = []\n    for _ in range(3):\n"
    "        pid = os.fork()\n        if pid == 0:\n            end = time.monotonic() + event\n            while time.monotonic() < end:\n"
    "                pass\n            os._exit(0)\n        children.append(pid)\n    for pid in children:\n        os.waitpid(pid, 0)\n"
    "    after = os.times()\n    spent = after.children_user + after.children_system - before.children_user - before.children_system\n"
    "    return [init, spent / (time.monotonic() - began)]\n"
)


@pytest.mark.parametrize("memory_mb", [128, 884, 1_769])
def test_a_function_has_the_cpu_that_goes_with_its_memory(client: Any, make_function: MakeFunction, memory_mb: int) -> None:
    """At most, however idle the machine is: how much it really gets is its neighbours' matter."""
    share = memory_mb / 1_769
    for _ in range(TRIES_MAX):
        (init, cores), _report = called(client, make_function(_BURN, MemorySize=memory_mb, Timeout=20), 1.2)
        assert 0 < cores < share * 1.15 + 0.03
        # With the function's share it would be never; neighbours may take the processors from it once.
        if init < 0.2 / share * 0.85 or memory_mb > 800:
            break
    else:
        pytest.fail(f"an initialisation runs at full speed: {init:.2f} s")


# /tmp

_FILL = (
    "import os\ndef handler(event, context):\n    written = 0\n    try:\n        with open('/tmp/file', 'ab', 0) as file:\n"
    "            while True:\n                written += file.write(bytes(1 << 20))\n    except OSError as error:\n"
    "        return [written >> 20, error.errno]\n"
)


@pytest.mark.parametrize("size_mb", [512, 700])
def test_tmp_holds_what_is_configured_whatever_the_memory(client: Any, make_function: MakeFunction, size_mb: int) -> None:
    name = make_function(_FILL, MemorySize=256, EphemeralStorage={"Size": size_mb}, Timeout=30)
    (written, error), report = called(client, name)
    assert (abs(written - size_mb) <= 1, error) == (True, 28)
    assert int(report["used"]) < 80


def test_tmp_holds_so_many_files_and_they_are_not_memory(client: Any, make_function: MakeFunction) -> None:
    source = (
        "import os\nmade = 0\ntry:\n    while True:\n        os.close(os.open('/tmp/%d' % made, os.O_CREAT | os.O_WRONLY))\n        made += 1\n"
        "except OSError as error:\n    failed = error.errno\ndef handler(event, context):\n    return [made, failed]\n"
    )
    name = make_function(source, MemorySize=128, Timeout=30)
    (made, error), report = called(client, name)
    assert (131_000 < made < 131_072 + 1, error) == (True, 28)
    assert int(report["used"]) < 128


# Descriptors and processes


def test_a_process_opens_1024_files_and_no_more(client: Any, make_function: MakeFunction) -> None:
    source = (
        "import os\ndef handler(event, context):\n    held = []\n    try:\n        while True:\n            held.append(os.open('/dev/null', os.O_RDONLY))\n"
        "    except OSError as error:\n        seen = [held[-1], error.errno]\n    for fd in held:\n        os.close(fd)\n    return seen\n"
    )
    assert called(client, make_function(source))[0] == [1_023, 24]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_function_runs_less_than_1024_processes_and_threads(client: Any, make_function: MakeFunction, kind: str) -> None:
    source = (
        "import os, threading\nend = threading.Event()\ndef start(kind):\n    if kind == 'thread':\n"
        "        threading.Thread(target=end.wait, daemon=True).start()\n    elif os.fork() == 0:\n        import signal\n        signal.pause()\n"
        "def handler(event, context):\n    started = 0\n    threading.stack_size(65536)\n    try:\n        while started < 2000:\n            start(event)\n"
        "            started += 1\n    except (OSError, RuntimeError):\n        return started\n"
    )
    name = make_function(source, MemorySize=1_024, Timeout=30)
    assert 600 < called(client, name, kind)[0] <= 742


# Time


def test_a_function_is_ended_at_its_timeout(client: Any, make_function: MakeFunction) -> None:
    name = make_function("import time\ndef handler(event, context):\n    time.sleep(event)\n", Timeout=2)
    assert called(client, name, 0)[0] is None
    error, report = called(client, name, 30)
    assert error == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {report['id']} Error: Task timed out after 2.00 seconds",
    }
    assert (report["duration"], report["billed"], report["rest"]) == ("2000.00", "2000", "Status: timeout")
    assert called(client, name, 0)[0] is None


def test_an_initialisation_of_more_than_ten_seconds_is_done_again_by_the_invocation(
    client: Any, make_function: MakeFunction
) -> None:
    """One that is quick the second time, and one whose function's timeout then ends it."""
    source = (
        "import os, time\nagain = os.path.exists('/tmp/again')\nopen('/tmp/again', 'w').close()\nprint('again', again)\n"
        "if not again or os.environ.get('ALWAYS'):\n    time.sleep(60)\ndef handler(event, context):\n    return again\n"
    )
    quick = make_function(source, Timeout=5)
    always = make_function(source, Timeout=1, Environment={"Variables": {"ALWAYS": "1"}})
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        (result, report), (error, timed_out) = pool.map(lambda name: called(client, name), [quick, always])
    assert time.monotonic() - began >= 10
    assert result is True
    assert float(report["duration"]) < 5_000
    assert "Init Duration" not in report["rest"]
    assert error["errorMessage"] == f"RequestId: {timed_out['id']} Error: Task timed out after 1.00 seconds"
    assert timed_out["rest"] == "Status: timeout"


_LEAVE_RUNNING = (
    "import os, time\npid = 0\ndef spent():\n    return sum(map(int, open('/proc/%d/stat' % pid).read().split(')')[1].split()[11:13])) / 100\n"
    "def handler(event, context):\n    global pid\n    if not pid:\n        pid = os.fork()\n        if pid == 0:\n            os.setsid()\n"
    "            while True:\n                pass\n        time.sleep(0.05)\n    return spent()\n"
)


def test_what_a_function_leaves_running_uses_no_processor_until_its_next_event(
    client: Any, make_function: MakeFunction
) -> None:
    name = make_function(_LEAVE_RUNNING, MemorySize=1_769)
    before = called(client, name)[0]
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 2.5, what="time passes")
    after = called(client, name)[0]
    assert before < after < before + 1.2, "as long as it was not frozen"


# Sizes


def test_a_response_may_have_six_megabytes(client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(event, context):\n    return 'a' * event\n", MemorySize=512, Timeout=20)
    for size in (6 * 1024**2, 6_291_556 - 2):
        assert len(called(client, name, size)[0]) == size
    error, report = called(client, name, 6_291_556 - 1)
    assert error == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    assert report["rest"] == "Status: error\tError Type: Function.ResponseSizeTooLarge"
    assert called(client, name, 1)[0] == "a", "and the runtime goes on"


def test_a_request_may_have_six_megabytes_and_an_event_one(client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(event, context):\n    return len(event)\n", MemorySize=512, Timeout=20)
    for kind, limit in (("RequestResponse", 6 * 1024**2), ("Event", 1024**2)):
        fits = b'"' + b"a" * (limit - 2) + b'"'
        assert client.invoke(FunctionName=name, InvocationType=kind, Payload=fits)["StatusCode"] in (200, 202)
        with pytest.raises(ClientError, match=str(limit)) as error:
            client.invoke(FunctionName=name, InvocationType=kind, Payload=fits[:-1] + b'a"')
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_variables_may_have_four_kilobytes(client: Any, make_function: MakeFunction) -> None:
    source = "import os\ndef handler(event, context):\n    return len(os.environ['LARGE'])\n"
    size = 4_096 - len('{"LARGE":""}')
    assert called(client, make_function(source, Environment={"Variables": {"LARGE": "x" * size}}))[0] == size
    assert refused(client, Environment={"Variables": {"LARGE": "x" * (size + 1)}}) == (
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
        'exceeded the 4KB limit. String measured: {"LARGE":"' + "x" * (size + 1) + '"}'
    )


def test_a_package_may_have_250_megabytes_unzipped(client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(event, context):\n    return 1\n")
    client.update_function_code(FunctionName=name, ZipFile=_zeros(262_143_999))
    with pytest.raises(ClientError, match="Unzipped size must be smaller than 262144000 bytes"):
        client.update_function_code(FunctionName=name, ZipFile=_zeros(262_144_000))


def _zeros(size: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("zeros", bytes(size))
    return buffer.getvalue()
