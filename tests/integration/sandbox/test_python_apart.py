"""The runtime of Python stands apart from the function's code: what that replaces breaks the function alone."""

from __future__ import annotations

import pytest

from tests.integration.sandbox.harness import Harness

BREAKS = {
    "json": "import json; json.dumps = json.loads = json.JSONEncoder.encode = json.JSONDecoder.decode = broken",
    "sockets": "import socket; socket.socket.recv = socket.socket.recv_into = socket.socket.sendall = broken; socket.socket = broken",
    "files": "import os; os.write = os.read = os.open = broken",
    "exit": "import os, sys; os._exit = sys.exit = broken",
    "time": "import time; time.time = time.time_ns = time.monotonic = time.sleep = broken",
    "struct": "import struct; struct.pack = struct.unpack = broken",
    "names": "import builtins; builtins.print = builtins.open = broken",
    "variables": "import os; os.environ = dict(os.environ); os.getenv = broken",
    "tracebacks": "import traceback; traceback.print_exc = traceback.format_exception = broken",
}
SOURCE = """
say = print
def broken(*args, **kwargs):
    raise RuntimeError("replaced")

{breaks}

def handler(event, context):
    say("said", 1)
    if event.get("fail"):
        raise LookupError("wanted")
    return event
"""


@pytest.mark.parametrize("breaks", BREAKS.values(), ids=BREAKS)
async def test_a_function_that_replaces_parts_of_the_standard_library_is_served_all_the_same(
    harness: Harness, breaks: str
) -> None:
    large = {"a": "ü" * 100_000}
    async with harness.running(SOURCE.format(breaks=breaks)) as function:
        for event in ({"a": 1}, large):
            assert await function.result(event) == event
            assert (await function.error({"fail": True}))["errorType"] == "LookupError"
        assert bytes(function.output).count(b"said 1\n") == 4


async def test_the_sdk_is_there_for_every_python(harness: Harness) -> None:
    source = "import boto3, botocore\ndef handler(event, context):\n    return [boto3.client('s3').meta.service_model.service_name, botocore.__file__]\n"
    for runtime in (name for name in harness.pool.catalogue.installed() if name.startswith("python")):
        async with harness.running(source, runtime=runtime) as function:
            assert await function.result() == ["s3", "/var/runtime/botocore/__init__.py"]
