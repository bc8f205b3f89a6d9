"""What Python functions see, answer and log."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from services.worker.sandbox.spec import InvalidInvocationError, RuntimeExit, RuntimeResponse
from tests.integration.sandbox.harness import Harness, until
from tests.needs import each, offered
from tests.support import PYTHON

ECHO = "def handler(event, context):\n    return event\n"


@each(*offered("python"))
async def test_every_python_of_this_machine_runs_its_own_version(harness: Harness, runtime: str) -> None:
    source = "import sys, boto3\ndef handler(event, context):\n    return [list(sys.version_info[:2]), event, context.aws_request_id]\n"
    async with harness.running(source, runtime=runtime) as function:
        version, event, request_id = await function.result(
            {"a": [1, None, "ü"]}, request_id="8e1b3b2a-0000-4000-8000-000000000000"
        )
    assert f"python{version[0]}.{version[1]}" == runtime
    assert event == {"a": [1, None, "ü"]}
    assert request_id == "8e1b3b2a-0000-4000-8000-000000000000"


async def test_a_python_function_sees_exactly_the_variables_that_aws_sets_and_its_own(harness: Harness) -> None:
    source = "import os\ndef handler(event, context):\n    return [dict(os.environ), os.getcwd()]\n"
    async with harness.running(source, variables={"Hello": "World"}) as function:
        variables, folder = await function.result({}, trace="Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
    assert folder == "/var/task"
    assert variables["Hello"] == "World"
    assert set(variables) - {"Hello"} == {
        "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "LANG", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PWD",
        "PYTHONPATH", "SHLVL", "TZ", "_AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_PORT", "_HANDLER", "_X_AMZN_TRACE_ID",
    }  # fmt: skip
    assert variables["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{PYTHON}"
    assert variables["AWS_LAMBDA_RUNTIME_API"].endswith(":9001")


async def test_variables_reach_child_processes_and_c_code(harness: Harness) -> None:
    source = (
        "import os, subprocess, time\n"
        "def handler(event, context):\n"
        "    os.environ['LATER'] = 'set'\n"
        "    return [subprocess.check_output(['/usr/bin/env']).decode().splitlines(), time.tzname[0]]\n"
    )
    async with harness.running(source, variables={"Hello": "World", "TZ": "Europe/Berlin"}) as function:
        lines, zone = await function.result({})
    assert "Hello=World" in lines
    assert "LATER=set" in lines
    assert zone == "CET"


async def test_globals_and_tmp_are_kept_between_invocations(harness: Harness) -> None:
    source = (
        "import os\ncount = 0\ndef handler(event, context):\n    global count\n    count += 1\n"
        "    open('/tmp/log', 'a').write('x')\n    return [count, os.path.getsize('/tmp/log')]\n"
    )
    async with harness.running(source) as function:
        assert await function.result() == [1, 1]
        assert await function.result() == [2, 2]


async def test_everything_printed_before_the_answer_is_there_when_the_answer_is(harness: Harness) -> None:
    source = (
        "import logging, sys, subprocess\n"
        "def handler(event, context):\n"
        "    print('one')\n    logging.getLogger().warning('two')\n    sys.stderr.write('three\\n')\n"
        "    subprocess.run(['/bin/echo', 'four'])\n    print('x' * event)\n    return 1\n"
    )
    async with harness.running(source) as function:
        await function.result(20_000)
        lines = bytes(function.output).decode().splitlines()
    assert lines[0] == "one"
    assert re.fullmatch(r"\[WARNING\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t[0-9a-f-]{36}\ttwo", lines[1])
    assert lines[2:] == ["three", "four", "x" * 20_000]


async def test_a_raised_exception_is_answered_and_logged_as_on_aws(harness: Harness) -> None:
    source = 'def handler(event, context):\n    raise Exception("Handler fails")\n'
    async with harness.running(source) as function:
        end = await function.invoke({}, request_id="8e1b3b2a-0000-4000-8000-000000000000")
        assert isinstance(end, RuntimeResponse)
        assert end.error_type == "Exception"
        assert json.loads(end.payload) == {
            "errorMessage": "Handler fails",
            "errorType": "Exception",
            "requestId": "8e1b3b2a-0000-4000-8000-000000000000",
            "stackTrace": ['  File "/var/task/app.py", line 2, in handler\n    raise Exception("Handler fails")\n'],
        }
        assert bytes(function.output).decode() == (
            "[ERROR] Exception: Handler fails\nTraceback (most recent call last):\n"
            '\u00a0\u00a0File "/var/task/app.py", line 2, in handler\n'
            '\u00a0\u00a0\u00a0\u00a0raise Exception("Handler fails")'
        )
        assert (await function.error({}))["errorMessage"] == "Handler fails"  # and the runtime lives on


@pytest.mark.needs("python3.8")
async def test_python38_leaves_the_request_id_out_of_errors(harness: Harness) -> None:
    source = 'def handler(event, context):\n    raise Exception("Handler fails")\n'
    async with harness.running(source, runtime="python3.8") as function:
        assert set(await function.error({})) == {"errorMessage", "errorType", "stackTrace"}


async def test_a_result_that_json_cannot_hold_is_a_marshal_error(harness: Harness) -> None:
    async with harness.running("def handler(event, context):\n    return {1, 2}\n") as function:
        document = await function.error({})
    assert document["errorType"] == "Runtime.MarshalError"
    assert document["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"
    assert document["stackTrace"] == []


@pytest.mark.parametrize(
    ("source", "handler", "document"),
    [
        (
            "import nothing_of_this_name\n",
            "app.handler",
            {
                "errorMessage": "Unable to import module 'app': No module named 'nothing_of_this_name'",
                "errorType": "Runtime.ImportModuleError",
            },
        ),
        (
            ECHO,
            "missing.handler",
            {
                "errorMessage": "Unable to import module 'missing': No module named 'missing'",
                "errorType": "Runtime.ImportModuleError",
            },
        ),
        (
            ECHO,
            "app.nothing",
            {"errorMessage": "Handler 'nothing' missing on module 'app'", "errorType": "Runtime.HandlerNotFound"},
        ),
        (
            ECHO,
            "app",
            {
                "errorMessage": "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
                "errorType": "Runtime.MalformedHandlerName",
            },
        ),
        (
            ECHO,
            "sys.handler",
            {
                "errorMessage": "Cannot use built-in module sys as a handler module",
                "errorType": "Runtime.BuiltInModuleConflict",
            },
        ),
    ],
)
async def test_an_initialisation_that_fails_posts_the_document_and_exits_with_1(
    harness: Harness, source: str, handler: str, document: dict[str, str]
) -> None:
    async with harness.running(source, handler=handler) as function:
        end = function.ready
        assert isinstance(end, RuntimeExit)
        assert end.exit_status == 1
        assert json.loads(end.init_error or b"") == {**document, "requestId": "", "stackTrace": []}
        assert "LAMBDA_WARNING: Unhandled exception." in bytes(function.output).decode()


async def test_a_syntax_error_is_reported_with_its_line(harness: Harness) -> None:
    async with harness.running("def handler(event, context)\n    return 1\n") as function:
        end = function.ready
        assert isinstance(end, RuntimeExit)
        document = json.loads(end.init_error or b"")
    assert document["errorType"] == "Runtime.UserCodeSyntaxError"
    assert document["errorMessage"].startswith("Syntax error in module 'app': expected ':'")
    assert document["stackTrace"] == ['  File "/var/task/app.py" Line 1\n    def handler(event, context)\n']


@pytest.mark.parametrize(
    ("statement", "status", "signal"),
    [
        ("sys.exit(0)", 0, None),
        ("sys.exit(3)", 3, None),
        ("os._exit(0)", 0, None),
        ("raise KeyboardInterrupt", 1, None),
        ("os.kill(os.getpid(), 9)", None, "killed"),
        ("os.kill(os.getpid(), 15)", None, "terminated"),
        ("ctypes.string_at(0)", None, "segmentation fault"),
    ],
)
async def test_the_end_of_the_process_during_an_event_is_reported(
    harness: Harness, statement: str, status: int | None, signal: str | None
) -> None:
    source = f"import ctypes, os, sys\ndef handler(event, context):\n    print('before')\n    {statement}\n"
    async with harness.running(source) as function:
        end = await function.invoke({})
        assert isinstance(end, RuntimeExit)
        assert (end.exit_status, end.signal, end.out_of_memory, end.init_error) == (status, signal, False, None)
        assert bytes(function.output).startswith(b"before\n")


async def test_a_runtime_started_again_keeps_tmp_and_forgets_globals(harness: Harness) -> None:
    source = (
        "import os\ncount = 0\ndef handler(event, context):\n    global count\n    count += 1\n    open('/tmp/log', 'a').write('x')\n"
        "    if event == 'end':\n        os._exit(3)\n    return [count, os.path.getsize('/tmp/log')]\n"
    )
    async with harness.running(source) as function:
        assert await function.result() == [1, 1]
        assert isinstance(await function.invoke("end"), RuntimeExit)
        await function.restart()
        assert await function.result() == [1, 3]


async def test_killing_the_runtime_ends_the_event_and_everything_it_started(harness: Harness) -> None:
    source = (
        "import os, subprocess, time\ndef handler(event, context):\n    if event == 'count':\n"
        "        return [entry for entry in os.listdir('/proc') if entry.isdigit()]\n"
        "    subprocess.Popen(['sleep', '1000'], start_new_session=True)\n    print('sleeping')\n    time.sleep(1000)\n"
    )
    async with harness.running(source) as function:
        event = asyncio.create_task(function.invoke({}))
        await until(lambda: b"sleeping" in function.output, "the handler sleeps")
        await function.sandbox.kill_runtime()
        end = await event
        assert isinstance(end, RuntimeExit)
        assert (end.signal, end.out_of_memory) == ("killed", False)
        await function.restart()
        assert len(await function.result("count")) == 1


async def test_six_megabytes_go_both_ways_and_a_larger_answer_is_refused(harness: Harness) -> None:
    source = "def handler(event, context):\n    return event if isinstance(event, str) else 'a' * event\n"
    async with harness.running(source) as function:
        text = "b" * (6 * 1024 * 1024 - 2)
        assert await function.result(text) == text
        assert len(await function.result(6_291_456)) == 6_291_456
        end = await function.invoke(6_291_555)
        assert isinstance(end, RuntimeResponse)
        assert (end.payload, end.too_large_bytes) == (b"", 6_291_557)
        assert await function.result("still here") == "still here"


async def test_the_functions_own_sdk_and_modules_win_over_what_was_loaded_early(harness: Harness) -> None:
    files = {
        "app.py": "import boto3, botocore, shared, calendar\ndef handler(event, context):\n"
        "    return [boto3.MINE, botocore.__file__, shared.MINE, calendar.MINE]\n",
        "boto3/__init__.py": "MINE = 'code'\n",
        "shared.py": "MINE = 'shared'\n",
        "calendar.py": "MINE = 'calendar'\n",
    }
    async with harness.running(files) as function:
        mine, botocore, shared, calendar = await function.result()
    assert (mine, shared, calendar) == ("code", "shared", "calendar")
    assert botocore.startswith("/var/runtime/")


async def test_layers_are_at_opt_and_on_the_path(harness: Harness) -> None:
    source = "import of_layer\ndef handler(event, context):\n    return [of_layer.__file__, open('/opt/data').read()]\n"
    async with harness.running(source, layers={"python/of_layer.py": "", "data": "text"}) as function:
        assert await function.result() == ["/opt/python/of_layer.py", "text"]


async def test_json_logs_are_lines_of_json_with_the_request_id(harness: Harness) -> None:
    source = "import logging\ndef handler(event, context):\n    logging.getLogger('mine').warning('text')\n    raise ValueError('wrong')\n"
    async with harness.running(source, log_format="JSON") as function:
        await function.error()
        warning, error = (json.loads(line) for line in bytes(function.output).decode().splitlines())
    assert (warning["level"], warning["message"], warning["logger"]) == ("WARNING", "text", "mine")
    assert (error["level"], error["errorType"], error["errorMessage"]) == ("ERROR", "ValueError", "wrong")


async def test_a_wrapper_script_starts_the_runtime_and_its_variables_are_seen(harness: Harness) -> None:
    files = {"app.py": "import os\ndef handler(event, context):\n    return os.environ['FROM_WRAPPER']\n"}
    files["wrapper"] = '#!/bin/sh\nexport FROM_WRAPPER=yes\nexec "$@"\n'
    async with harness.running(files, variables={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}) as function:
        assert await function.result() == "yes"


async def test_a_wrapper_script_that_is_not_there_is_exit_status_127(harness: Harness) -> None:
    async with harness.running(ECHO, variables={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/nothing"}) as function:
        assert isinstance(function.ready, RuntimeExit)
        assert function.ready.exit_status == 127


async def test_a_field_of_64_kib_is_refused_before_anything_is_sent(harness: Harness) -> None:
    async with harness.running(
        "def handler(event, context):\n    return [event, len(context.client_context.custom)]\n"
    ) as running:
        longest = '{"custom":"' + "x" * (65_535 - 13) + '"}'
        for more in ({"trace": "x" * 65_536}, {"client_context": longest + " "}, {"request_id": "ä" * 32_768}):
            with pytest.raises(InvalidInvocationError, match="has 65536 bytes, more than 65535"):
                await running.invoke("no", **more)
        assert await running.result("yes", trace="t" * 65_535, client_context=longest) == ["yes", 65_522]


async def test_a_link_to_what_is_in_a_layer_works_and_one_out_of_the_sandbox_finds_nothing(
    harness: Harness, tmp_path: Path
) -> None:
    (tmp_path / "host.txt").write_text("of the host")
    source = """
import os
def read(path):
    try:
        return open(path).read()
    except OSError as error:
        return type(error).__name__
def handler(event, context):
    return [read("data.txt"), read("up.txt"), read("host.txt")]
"""
    files = {
        "app.py": Path("/opt/app.py"),
        "data.txt": Path("/opt/data.txt"),
        "up.txt": Path("../../opt/data.txt"),
        "host.txt": tmp_path / "host.txt",
    }
    async with harness.running(files, layers={"app.py": source, "data.txt": "of a layer"}) as function:
        assert await function.result() == ["of a layer", "of a layer", "FileNotFoundError"]


async def test_a_traceback_and_a_message_of_several_lines_are_one_record_each_and_keep_their_place(harness: Harness) -> None:
    source = (
        "import logging\nlogging.getLogger().setLevel('INFO')\ndef inner(event):\n    raise ValueError('of\\nlines')\n"
        "def handler(event, context):\n    print('first\\nsecond')\n    logging.info('one\\ntwo')\n    print('third')\n"
        "    if event: inner(event)\n"
    )
    async with harness.running(source) as function:
        await function.error(1)
        message, traceback = function.records
        assert message.startswith("[INFO]\t")
        assert message.endswith("\tone\ntwo\n")
        assert traceback.startswith("[ERROR] ValueError: of\nlines\nTraceback (most recent call last):\n")
        assert "in handler\n" in traceback
        assert traceback.count("\n") > 5
        text = function.output.decode()
        assert text == "first\nsecond\n" + message + "third\n" + traceback


async def test_a_record_of_a_hundred_kilobytes_is_one(harness: Harness) -> None:
    source = "import logging\ndef handler(event, context):\n    logging.error('x' * event)\n"
    async with harness.running(source) as function:
        await function.result(100_000)
        await until(lambda: function.records, "the record")
        assert [record.count("x") for record in function.records] == [100_000]
