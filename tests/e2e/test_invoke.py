"""Synchronous invocations by a real client against the running cluster."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.e2e.conftest import MakeFunction
from tests.support import NODE, zip_of

ECHO = "def handler(event, context):\n    return event\n"


def call(client: Any, name: str, event: object = None, **parameters: Any) -> tuple[Any, dict[str, Any]]:
    reply = client.invoke(FunctionName=name, Payload=json.dumps(event if event is not None else {}), **parameters)
    return json.loads(reply["Payload"].read()), reply


def test_an_event_goes_in_and_the_result_comes_out(client: Any, make_function: MakeFunction) -> None:
    name = make_function(ECHO)
    for event in ({"a": [1, 2.5, None, "ü😀"]}, "text", 17, None, True, []):
        result, reply = call(client, name, event)
        assert result == event if event is not None else result == {}
        assert reply["StatusCode"] == 200
        assert reply["ExecutedVersion"] == "$LATEST"
        assert "FunctionError" not in reply


def test_no_payload_reaches_the_handler_as_an_empty_object(client: Any, make_function: MakeFunction) -> None:
    name = make_function(ECHO)
    assert json.loads(client.invoke(FunctionName=name)["Payload"].read()) == {}


def test_the_log_tail_holds_start_output_end_and_report(client: Any, make_function: MakeFunction) -> None:
    name = make_function(
        "def handler(event, context):\n    print('hello from', context.function_name)\n    return context.aws_request_id\n"
    )
    request_id, reply = call(client, name, {}, LogType="Tail")
    tail = base64.b64decode(reply["LogResult"]).decode()
    assert f"START RequestId: {request_id} Version: $LATEST\n" in tail
    assert f"hello from {name}\n" in tail
    assert f"END RequestId: {request_id}\n" in tail
    assert re.search(
        rf"REPORT RequestId: {request_id}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB\tInit Duration: \d+\.\d\d ms\t\n",
        tail,
    )
    assert reply["ResponseMetadata"]["RequestId"] == request_id


def test_the_environment_is_warm_the_second_time(client: Any, make_function: MakeFunction) -> None:
    name = make_function(
        "import os\ncount = 0\ndef handler(event, context):\n    global count\n    count += 1\n"
        "    seen = os.path.exists('/tmp/mark')\n    open('/tmp/mark', 'w').close()\n    return [count, seen]\n"
    )
    assert call(client, name)[0] == [1, False]
    assert call(client, name)[0] == [2, True]


def test_a_failing_handler_is_a_200_with_its_error_document(client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(event, context):\n    raise ValueError('no good')\n")
    result, reply = call(client, name)
    assert reply["StatusCode"] == 200
    assert reply["FunctionError"] == "Unhandled"
    assert result["errorType"] == "ValueError"
    assert result["errorMessage"] == "no good"
    assert result["requestId"] == reply["ResponseMetadata"]["RequestId"]
    assert result["stackTrace"] == ["  File \"/var/task/app.py\", line 2, in handler\n    raise ValueError('no good')\n"]


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        ("import os\ndef handler(e, c):\n    os._exit(0)\n", "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("import os\ndef handler(e, c):\n    os._exit(3)\n", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        (
            "import os\ndef handler(e, c):\n    os.kill(os.getpid(), 9)\n",
            "Runtime.ExitError",
            "Runtime exited with error: signal: killed",
        ),
        ("import time\ndef handler(e, c):\n    time.sleep(30)\n", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
        ("def handler(e, c):\n    return len(b'x' * (400 << 20))\n", "Runtime.ExitError", "signal: killed"),
        (
            "import nothing_of_this_name\ndef handler(e, c): pass\n",
            "Runtime.ImportModuleError",
            "No module named 'nothing_of_this_name'",
        ),
        ("def other(e, c): pass\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("def handler(e, c:\n", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("def handler(e, c):\n    return object()\n", "Runtime.MarshalError", "Unable to marshal response"),
    ],
    ids=[
        "exit-0",
        "exit-3",
        "killed",
        "timeout",
        "out-of-memory",
        "import-error",
        "no-handler",
        "syntax-error",
        "unserializable",
    ],
)
def test_failures_of_the_runtime_read_as_on_aws(
    client: Any, make_function: MakeFunction, source: str, error_type: str, message: str
) -> None:
    name = make_function(source, Timeout=1 if "sleep" in source else 20, MemorySize=128)
    result, reply = call(client, name)
    assert reply["FunctionError"] == "Unhandled"
    assert result["errorType"] == error_type
    assert message in result["errorMessage"]


def test_an_environment_that_timed_out_keeps_tmp_and_starts_anew(client: Any, make_function: MakeFunction) -> None:
    name = make_function(
        "import os, time\ncount = 0\ndef handler(event, context):\n    global count\n    count += 1\n"
        "    if event.get('hang'):\n        open('/tmp/mark', 'w').close()\n        time.sleep(30)\n    return [count, os.path.exists('/tmp/mark')]\n",
        Timeout=1,
    )
    assert call(client, name, {"hang": True})[0]["errorType"] == "Sandbox.Timedout"
    assert call(client, name)[0] == [1, True]


@pytest.mark.needs(NODE)
def test_node_functions_run_too(client: Any, make_function: MakeFunction) -> None:
    name = make_function(
        "let count = 0;\nexport const handler = async (event, context) => { console.log('from node'); return { event, count: ++count, id: context.awsRequestId }; };\n",
        runtime=NODE,
    )
    result, reply = call(client, name, {"n": 1}, LogType="Tail")
    assert result == {"event": {"n": 1}, "count": 1, "id": reply["ResponseMetadata"]["RequestId"]}
    assert "\tINFO\tfrom node\n" in base64.b64decode(reply["LogResult"]).decode()
    assert call(client, name, {"n": 2})[0]["count"] == 2


BOOTSTRAP = r"""#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API#*:}"
  printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: runtime\r\nConnection: close\r\n\r\n' >&3
  id="" length=0
  while IFS= read -r line <&3; line="${line%$'\r'}"; [ -n "$line" ]; do
    case "${line,,}" in
      lambda-runtime-aws-request-id:*) id="${line#*: }" ;;
      content-length:*) length="${line#*: }" ;;
    esac
  done
  IFS= read -r -N "$length" event <&3
  exec 3>&-
  answer="{\"from\": \"$_HANDLER\", \"event\": $event}"
  exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API#*:}"
  printf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: runtime\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' "$id" "${#answer}" "$answer" >&3
  read -r _ <&3
  exec 3>&-
done
"""


def test_a_custom_runtime_speaks_the_runtime_api(client: Any, make_function: MakeFunction) -> None:
    name = make_function(BOOTSTRAP, runtime="provided.al2023", file="bootstrap", Handler="anything", Timeout=10)
    for number in range(3):
        result, _ = call(client, name, {"n": number})
        assert result == {"from": "anything", "event": {"n": number}}


def test_a_custom_runtime_without_a_bootstrap_is_told_so(client: Any, make_function: MakeFunction) -> None:
    name = make_function("not a bootstrap", runtime="provided.al2023", file="readme.txt", Handler="anything")
    result, reply = call(client, name)
    assert reply["FunctionError"] == "Unhandled"
    assert result["errorType"] == "Runtime.InvalidEntrypoint"
    assert "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]" in result["errorMessage"]


def test_versions_and_aliases_pick_the_code(client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(e, c):\n    return 'one'\n")
    first = client.publish_version(FunctionName=name)["Version"]
    client.update_function_code(FunctionName=name, ZipFile=zip_of({"app.py": "def handler(e, c):\n    return 'two'\n"}))
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert call(client, name)[0] == "two"
    assert call(client, name, {}, Qualifier=first)[0] == "one"
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=first)
    result, reply = call(client, name, {}, Qualifier="live")
    assert (result, reply["ExecutedVersion"]) == ("one", first)
    second = client.publish_version(FunctionName=name)["Version"]
    client.update_alias(FunctionName=name, Name="live", RoutingConfig={"AdditionalVersionWeights": {second: 0.5}})
    assert {call(client, f"{name}:live")[0] for _ in range(40)} == {"one", "two"}


def test_an_update_is_what_the_next_invoke_runs(client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(e, c):\n    return 0\n")
    for generation in range(1, 6):
        call(client, name)
        client.update_function_code(
            FunctionName=name, ZipFile=zip_of({"app.py": f"def handler(e, c):\n    return {generation}\n"})
        )
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        assert call(client, name)[0] == generation


def test_a_payload_of_six_megabytes_goes_through_and_one_byte_more_does_not(client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(event, context):\n    return len(event)\n", MemorySize=512, Timeout=20)
    limit = 6 * 1024 * 1024
    fits = b'"' + b"a" * (limit - 2) + b'"'
    assert json.loads(client.invoke(FunctionName=name, Payload=fits)["Payload"].read()) == limit - 2
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName=name, Payload=fits[:-1] + b'a"')
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_reserved_concurrency_is_a_limit_and_zero_turns_a_function_off(client: Any, make_function: MakeFunction) -> None:
    name = make_function("import time\ndef handler(e, c):\n    time.sleep(3)\n    return 'done'\n")
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)

    def attempt(_: int) -> str:
        try:
            return str(call(client, name)[0])
        except client.exceptions.TooManyRequestsException as error:
            return str(error.response["Reason"])

    with ThreadPoolExecutor(5) as pool:
        outcomes = sorted(pool.map(attempt, range(5)))
    assert outcomes == ["ReservedFunctionConcurrentInvocationLimitExceeded"] * 3 + ["done"] * 2
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert attempt(0) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    client.delete_function_concurrency(FunctionName=name)
    assert attempt(0) == "done"


def test_dry_run_checks_and_runs_nothing(client: Any, make_function: MakeFunction) -> None:
    name = make_function(ECHO)
    assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName=name + "-not", InvocationType="DryRun")


def test_the_client_context_reaches_the_function(client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(event, context):\n    return context.client_context.custom\n")
    context = base64.b64encode(json.dumps({"custom": {"k": "v"}, "client": {}, "env": {}}).encode()).decode()
    assert call(client, name, {}, ClientContext=context)[0] == {"k": "v"}
