"""Custom runtimes: the bootstrap that is found, what it is told, and what is said where none is; runtimes that cannot be served."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.sandbox.spec import RuntimeExit, RuntimeReady, RuntimeResponse
from tests.integration.sandbox.harness import Harness

BOOTSTRAP = """#!/usr/bin/python3
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    body = answer.read()
    request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
    where = "error" if body == b'"fail"' else "response"
    print("handling", flush=True)
    api.request("POST", "/2018-06-01/runtime/invocation/" + request_id + "/" + where, body=os.environ["_HANDLER"].encode() + body)
    api.getresponse().read()
"""


@pytest.mark.parametrize("place", ["code", "layer"])
async def test_a_custom_runtime_is_the_bootstrap_of_the_code_or_a_layer(harness: Harness, place: str) -> None:
    files, layers = ({"bootstrap": BOOTSTRAP}, None) if place == "code" else ({"data": ""}, {"bootstrap": BOOTSTRAP})
    async with harness.running(files, runtime="provided.al2023", handler="free text", layers=layers) as function:
        assert isinstance(function.ready, RuntimeReady)
        end = await function.invoke({"a": 1})
        assert end == RuntimeResponse(b'free text{"a": 1}')
        failed = await function.invoke("fail")
        assert isinstance(failed, RuntimeResponse)
        assert (failed.payload, failed.error_type) == (b'free text"fail"', "")
        assert bytes(function.output) == b"handling\nhandling\n"


async def test_a_bootstrap_may_be_a_link_into_a_layer(harness: Harness) -> None:
    files, layers = {"bootstrap": Path("/opt/bootstrap")}, {"bootstrap": BOOTSTRAP}
    async with harness.running(files, runtime="provided.al2023", handler="linked", layers=layers) as function:
        assert isinstance(function.ready, RuntimeReady)
        assert await function.invoke(1) == RuntimeResponse(b"linked1")


async def test_a_bootstrap_that_is_a_link_is_looked_for_in_the_sandbox_alone(harness: Harness, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(BOOTSTRAP)
    program.chmod(0o755)
    async with harness.running({"bootstrap": program}, runtime="provided.al2023") as function:
        assert isinstance(function.ready, RuntimeExit)


async def test_a_custom_runtime_without_a_bootstrap_is_named(harness: Harness) -> None:
    async with harness.running({"data": ""}, runtime="provided.al2023") as function:
        assert isinstance(function.ready, RuntimeExit)
        assert function.ready.platform_error == (
            "Runtime.InvalidEntrypoint",
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
        )


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("#!/bin/sh\r\nexit 0\r\n", "[Errno 2] No such file or directory: '/var/task/bootstrap'"),
        ("\x7fELF of another machine", "[Errno 8] Exec format error: '/var/task/bootstrap'"),
    ],
)
async def test_a_bootstrap_that_cannot_be_executed_is_named_in_the_log(harness: Harness, program: str, told: str) -> None:
    async with harness.running({"bootstrap": program}, runtime="provided.al2023") as function:
        assert isinstance(function.ready, RuntimeExit)
    assert told in bytes(function.output).decode()


@pytest.mark.parametrize("runtime", ["java8.al2", "ruby3.4", "dotnet8", "python2.7", "python3.99", "nonsense"])
async def test_a_runtime_that_cannot_be_served_is_refused_with_what_would_help(harness: Harness, runtime: str) -> None:
    assert not harness.pool.supports(runtime)
    with pytest.raises(UnsupportedRuntimeError, match=runtime):
        await harness.pool.take(runtime)
