"""Extensions that others have published, as they are: from package registries, or from the PATH where none has the program."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.integration.worker.cluster import Caller, TestWorker, until
from tests.integration.worker.test_extensions import ended, log_of
from tests.integration.worker.test_real_sandbox import caller, worker

__all__ = ["caller", "worker"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")

LOCKED = Path(__file__).with_name("public_extensions")
ENDS_WITH_CARE = """
import signal
import lambda_sigterm
signal.signal(signal.SIGTERM, lambda *_: (print("ended with care", flush=True), exit(0)))
lambda_sigterm.register()
def handler(event, context):
    return event
"""


def lambda_sigterm() -> bytes:
    found = importlib.util.find_spec("lambda_sigterm")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).read_bytes()


async def test_lambda_sigterm_of_pypi_lets_a_function_end_with_care(worker: TestWorker, caller: Caller) -> None:
    spec = worker.with_layer(worker.function(ENDS_WITH_CARE), {"python/lambda_sigterm/__init__.py": lambda_sigterm()})
    assert (await caller.answer(spec, "p-1", 1, cold=True)).json() == 1
    assert (await caller.answer(spec, "p-1", 2)).json() == 2
    await ended(worker, "p-1")
    log = log_of(worker, "p-1")
    assert "EXTENSION\tName: lambda-sigterm\tState: Ready\tEvents: []\n" in log
    assert log.endswith("ended with care\n")


@pytest.fixture(scope="module")
def otel_layer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The extension's archive, as npm has it: what its makers would publish as a layer."""
    folder = tmp_path_factory.mktemp("npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCKED / name, folder / name)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True, timeout=120)
    (archive,) = folder.glob("node_modules/@serverless/aws-lambda-otel-extension-dist/extension.zip")
    with zipfile.ZipFile(archive) as packed:
        return {name: packed.read(name) for name in packed.namelist() if not name.endswith("/")}


@pytest.mark.needs("npm", "nodejs20.x")
async def test_serverless_otel_extension_of_npm_follows_a_function_by_its_logs(
    worker: TestWorker, caller: Caller, otel_layer: dict[str, bytes]
) -> None:
    """It registers, subscribes to the Logs API, and has a server for what it is sent."""
    source = "exports.handler = async event => { console.log('seen', event); return event; };"
    # Its own setting: it waits otherwise for what its makers' other half sends from inside the handler.
    spec = worker.program(
        source, "app.js", runtime="nodejs20.x", memory_mb=1_769, timeout_s=20, environment={"DO_NOT_WAIT": "1"}
    )
    spec = worker.with_layer(spec, otel_layer)
    for number in range(2):
        answer = await caller.answer(spec, "p-2", number, cold=number == 0)
        assert answer.header.function_error is None, (answer.payload, log_of(worker, "p-2"))
        assert answer.json() == number
    log = log_of(worker, "p-2")
    assert "EXTENSION\tName: otel-extension\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in log
    assert "LOGS\tName: otel-extension\tState: Subscribed\tTypes: [" in log
    await ended(worker, "p-2")


WEB_APP = """#!/usr/bin/python3
import http.server, json
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"path": self.path, "agent": self.headers.get("X-Mine")}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), App).serve_forever()
"""
URL_EVENT = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/some/page",
    "rawQueryString": "a=1",
    "headers": {"x-mine": "yes", "host": "abc.lambda-url.us-east-1.on.aws"},
    "requestContext": {
        "accountId": "anonymous",
        "apiId": "abc",
        "domainName": "abc.lambda-url.us-east-1.on.aws",
        "domainPrefix": "abc",
        "http": {"method": "GET", "path": "/some/page", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test"},
        "requestId": "id",
        "routeKey": "$default",
        "stage": "$default",
        "time": "01/Jan/2026:00:00:00 +0000",
        "timeEpoch": 1767225600000,
    },
    "isBase64Encoded": False,
}


def lambda_adapter() -> bytes:
    program = shutil.which("lambda-adapter")
    assert program is not None
    return Path(program).read_bytes()


@pytest.mark.needs("lambda-adapter")
async def test_lambda_web_adapter_puts_a_web_application_behind_a_function(worker: TestWorker, caller: Caller) -> None:
    """The program of AWS's that is extension and runtime client at once; the application knows nothing of Lambda. 0.9.1 is
    what crates.io has: `cargo install lambda_web_adapter --version 0.9.1 --locked`, two minutes on two processors."""
    spec = worker.program(WEB_APP, timeout_s=20, memory_mb=512)
    spec = worker.with_layer(spec, {"extensions/lambda-adapter": lambda_adapter()})
    for number in range(3):
        answer = await caller.answer(spec, "p-3", URL_EVENT, cold=number == 0)
        assert answer.header.function_error is None, (answer.payload, log_of(worker, "p-3"))
        got = answer.json()
        assert (got["statusCode"], json.loads(got["body"])) == (200, {"path": "/some/page?a=1", "agent": "yes"})
    assert "EXTENSION\tName: lambda-adapter\tState: Ready\tEvents: []\n" in log_of(worker, "p-3")
    await ended(worker, "p-3")
    await until(lambda: "p-3" in worker.gone, "its end")
