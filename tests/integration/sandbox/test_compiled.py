"""Programs of compiled languages on custom runtimes: in Go by AWS's own library, in Rust by the standard library alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from services.worker.sandbox.spec import RuntimeExit, RuntimeResponse
from tests.integration.sandbox.harness import Harness

SOURCES = Path(__file__).parent / "compiled"
CUSTOM = ["provided.al2", "provided.al2023"]
BUILD_TIMEOUT_S = 300
ID = "8e1b3b2a-0000-4000-8000-000000000000"


def build(command: list[str], folder: str, **variables: str) -> None:
    done = subprocess.run(
        command,
        cwd=SOURCES / folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def in_go(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Its libraries are pinned in go.sum."""
    program = tmp_path_factory.mktemp("go") / "bootstrap"
    flags = ["-trimpath", "-mod=readonly", "-tags", "lambda.norpc", "-ldflags=-s -w"]
    build(["go", "build", *flags, "-o", str(program), "."], "go", CGO_ENABLED="0", GOFLAGS="", GOTOOLCHAIN="local")
    return program.read_bytes()


@pytest.fixture(scope="module")
def in_rust(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    target = tmp_path_factory.mktemp("rust")
    build(["cargo", "build", "--quiet", "--locked", "--offline"], "rust", CARGO_TARGET_DIR=str(target))
    return (target / "debug" / "bootstrap").read_bytes()


@pytest.mark.needs("go")
@pytest.mark.parametrize("runtime", CUSTOM)
async def test_a_program_in_go_answers_fails_and_is_started_again_after_a_panic(
    harness: Harness, in_go: bytes, runtime: str
) -> None:
    async with harness.running({"bootstrap": in_go}, runtime=runtime, handler="bootstrap") as function:
        for _ in range(2):
            assert await function.result({"text": "ü"}, request_id=ID) == {
                "text": "ü",
                "id": ID,
                "arn": "arn:aws:lambda:us-east-1:000000000000:function:fn",
                "deadline": True,
            }
        # As recorded: a returned error has no stack.
        failed = await function.error({"do": "fail", "text": "Error: some_error_msg"})
        assert failed == {"errorMessage": "Error: some_error_msg", "errorType": "errorString"}
        panicked = await function.error({"do": "panic", "text": "no more"})
        assert panicked["errorMessage"] == "no more"
        assert set(panicked["stackTrace"][0]) == {"path", "line", "label"}
        assert isinstance(await function.invoke({}), RuntimeExit)
        await function.restart()
        assert (await function.result({"text": "again"}))["text"] == "again"


@pytest.mark.needs("cargo")
@pytest.mark.parametrize("runtime", CUSTOM)
async def test_a_program_in_rust_answers_and_fails(harness: Harness, in_rust: bytes, runtime: str) -> None:
    layers = harness.write({"bootstrap": in_rust})
    async with harness.running({"nothing": ""}, runtime=runtime, handler="whatever", layers=layers) as function:
        assert await function.result({"a": ["ü", 1]}) == {"a": ["ü", 1]}
        end = await function.invoke("fail")
        assert isinstance(end, RuntimeResponse)
        assert (end.error_type, end.payload) == ("Failed", b'{"errorType":"Failed","errorMessage":"it was told to"}')
        assert await function.result("still here") == "still here"
