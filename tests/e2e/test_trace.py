"""_X_AMZN_TRACE_ID is there in every runtime, and Lambda-Runtime-Trace-Id for those that make it of that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.domain.lineage import RUNS_MAX
from tests.e2e.conftest import MakeFunction
from tests.support import NODE
from tests.unit.worker.test_trace import ROOT, WHOLE

PYTHON_SOURCE = "import os\ndef handler(event, context):\n    return os.environ.get('_X_AMZN_TRACE_ID')\n"
NODE_SOURCE = "export const handler = async () => process.env._X_AMZN_TRACE_ID;\n"
BOOTSTRAP = """#!/bin/bash
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
while :; do
  exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API#*:}"
  printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' >&3
  while IFS= read -r -u 3 line; do
    line=${line%$'\\r'}; [ -z "$line" ] && break
    case ${line,,} in
      lambda-runtime-aws-request-id:*) id=${line#*: } ;;
      lambda-runtime-trace-id:*) trace=${line#*: } ;;
    esac
  done
  exec 3<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API#*:}"
  body="\\"$trace\\""
  printf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n' "$id" >&3
  printf 'Content-Length: %d\\r\\n\\r\\n%s' "${#body}" "$body" >&3
  read -r -u 3 line
done
"""


@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        (PYTHON_SOURCE, {}),
        pytest.param(NODE_SOURCE, {"runtime": NODE}, marks=pytest.mark.needs(NODE)),
        (BOOTSTRAP, {"runtime": "provided.al2023", "file": "bootstrap", "Handler": "any"}),
    ],
    ids=["python", "nodejs", "provided"],
)
def test_a_function_is_told_its_trace_whoever_calls(
    client: Any, make_function: MakeFunction, source: str, parameters: dict[str, Any]
) -> None:
    name = make_function(source, **parameters)

    def call() -> str:
        return str(json.load(client.invoke(FunctionName=name)["Payload"]))

    first, second = call(), call()
    assert WHOLE.fullmatch(first)
    assert WHOLE.fullmatch(second)
    assert first[:35] != second[:35]

    def send_root(request: Any, **_: Any) -> None:
        request.headers["X-Amzn-Trace-Id"] = ROOT

    client.meta.events.register("before-sign.lambda.Invoke", send_root)
    try:
        given = call()
    finally:
        client.meta.events.unregister("before-sign.lambda.Invoke", send_root)
    assert WHOLE.fullmatch(given)
    assert given.startswith(ROOT + ";")


@pytest.fixture
def call_in_chain(client: Any) -> Iterator[Callable[[str, str | None], str]]:
    """Invokes a function that answers its trace header, with a given one."""
    given: list[str | None] = [None]

    def send(request: Any, **_: Any) -> None:
        if given[0] is not None:
            request.headers["X-Amzn-Trace-Id"] = given[0]

    def call(name: str, trace: str | None) -> str:
        given[0] = trace
        return str(json.load(client.invoke(FunctionName=name)["Payload"]))

    client.meta.events.register("before-sign.lambda.Invoke", send)
    yield call
    client.meta.events.unregister("before-sign.lambda.Invoke", send)


def test_a_chain_of_synchronous_calls_leads_to_a_function_sixteen_times(
    client: Any, make_function: MakeFunction, call_in_chain: Callable[[str, str | None], str]
) -> None:
    name, other = make_function(PYTHON_SOURCE), make_function(PYTHON_SOURCE)
    trace: str | None = None
    for _ in range(RUNS_MAX):
        trace = call_in_chain(name, trace)
    with pytest.raises(client.exceptions.RecursiveInvocationException) as stopped:
        call_in_chain(name, trace)
    assert stopped.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "recursive loop" in stopped.value.response["Message"]
    # Others go on in the same chain, and so does the function where it is allowed to.
    call_in_chain(other, trace)
    client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    call_in_chain(name, trace)
