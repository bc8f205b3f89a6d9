"""_X_AMZN_TRACE_ID is there in every runtime, and Lambda-Runtime-Trace-Id for those that make it of that."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
