"""What the pages in docs/ show is run as it stands: every `sh` block of a page in its order, in one shell.

A block of another language whose first line is a comment with a file's name is that file. `console` blocks are shown alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cluster
from tests.e2e.conftest import MakeFunction
from tests.support import PYTHON, zip_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?:#|//) ([\w./-]+\.\w+)\n")
HELLO = 'def handler(event, context): return {"hello": event["name"]}\n'
"""The function that `make up` shows."""
SAID = {
    "clients": (r'"FunctionName": "hello"',),
    "function-urls": (r'{"path": *"/any/path"}{"path": *"/any/path"}',),
    "extensions": (r"watcher: INVOKE",),
    "kafka": (r"arn:aws:kafka:", r'"UUID"'),
    "logs": (r"START RequestId", r"T[\d:.]+ REPORT RequestId"),
    "metrics": (r"lambdad_frontend_invocations_total", r"worker-1"),
    "queues": (r"Success {'name': 'world'} {'hello': 'world'}", r"RetriesExhausted {'nobody': True}"),
    "regions": (r'"Functions": \[\]', r'"Layers": \[\]'),
    "s3": (r'"LastUpdateStatus"',),
}
"""The pages, and what their commands print at least."""


def script_of(page: str, folder: Path) -> str:
    """The page's commands; the files that it shows are written into the folder."""
    commands = []
    for language, text in BLOCK.findall((DOCS / f"{page}.md").read_text()):
        named = NAMED.match(text)
        if language == "sh":
            commands.append(text)
        elif named is not None:
            (folder / named[1]).parent.mkdir(parents=True, exist_ok=True)
            (folder / named[1]).write_text(text)
    return "\n".join(commands)


@pytest.fixture
def hello(client: Any, make_function: MakeFunction) -> Iterator[None]:
    """What pages begin with; what they make besides is gone after the test."""
    make_function(HELLO, FunctionName="hello", file="hello.py", Handler="hello.handler")
    before = {function["FunctionName"] for function in client.list_functions()["Functions"]}
    yield
    for function in client.list_functions()["Functions"]:
        if function["FunctionName"] not in before:
            client.delete_function(FunctionName=function["FunctionName"])


@pytest.mark.needs("bash")
@pytest.mark.needs("curl")
@pytest.mark.parametrize("page", SAID)
def test_the_commands_of_a_page_work_as_they_stand(page: str, cluster: Cluster, hello: None, tmp_path: Path) -> None:
    script = script_of(page, tmp_path).replace("--runtime python3.12", f"--runtime {PYTHON}")
    (tmp_path / "hello.zip").write_bytes(zip_of({"hello.py": HELLO}))
    shell = {"LAMBDAD_DATA_DIR": str(cluster.data_dir), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=os.environ | cluster.environment | shell,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for expected in SAID[page]:
        assert re.search(expected, done.stdout), f"{expected} is not in\n{done.stdout}\n{done.stderr}"
