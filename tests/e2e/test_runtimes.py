"""Functions that no worker of the running cluster could run are made, and refused when they are invoked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import MakeFunction
from tests.support import PYTHON

SOURCE = "def handler(event, context):\n    return 1\n"
NOWHERE = "dotnet6"


def test_what_no_worker_can_run_is_made_and_an_invocation_says_what_would_help(
    client: Any, make_function: MakeFunction
) -> None:
    good = make_function(SOURCE)
    other = "arm64" if client.get_function(FunctionName=good)["Configuration"]["Architectures"] == ["x86_64"] else "x86_64"
    name = make_function(SOURCE, runtime=NOWHERE, Handler="a::b::c")
    client.update_function_configuration(FunctionName=good, Runtime=NOWHERE)
    client.get_waiter("function_updated_v2").wait(FunctionName=good)
    elsewhere = make_function(SOURCE, Architectures=[other])
    for function, lacking in (
        (name, f"the runtime {NOWHERE}"),
        (good, f"the runtime {NOWHERE}"),
        (elsewhere, f"the architecture {other}"),
    ):
        with pytest.raises(
            client.exceptions.InvalidRuntimeException, match=f"No worker of this cluster has {lacking}"
        ) as refused:
            client.invoke(FunctionName=function)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 502
    client.update_function_configuration(FunctionName=good, Runtime=PYTHON)
    client.get_waiter("function_updated_v2").wait(FunctionName=good)
    assert client.invoke(FunctionName=good)["Payload"].read() == b"1"
