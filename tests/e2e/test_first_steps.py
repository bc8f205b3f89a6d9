"""What a newcomer does first: the demo, and the lines that `make up` ends with, pasted. Both also behind a proxy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import messages
from deploy.local.layout import CHECKOUT, DataDir
from deploy.local.state import read_state
from tests.conftest import Cluster

DEMO_TIMEOUT_S = 100
NOBODY_LISTENS = "http://127.0.0.1:1"


@pytest.fixture(params=["directly", "behind a proxy"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """A shell's: nothing of AWS's in it."""
    shell = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    proxy = {"HTTP_PROXY": NOBODY_LISTENS, "http_proxy": NOBODY_LISTENS}
    return shell | (proxy if request.param == "behind a proxy" else {})


@pytest.fixture
def hello(client: Any) -> Iterator[str]:
    """The function's name in the pasted lines; gone afterwards."""
    yield "hello"
    client.delete_function(FunctionName="hello")


def test_the_demo_shows_every_way_to_invoke(cluster: Cluster, environment: dict[str, str]) -> None:
    argv = [sys.executable, "-m", "deploy.local.demo", "--data-dir", str(cluster.data_dir)]
    done = subprocess.run(
        argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=DEMO_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in ("synchronous, cold", "synchronous, warm, 100 calls", "100 records of topic"):
        assert shown in done.stdout
    assert done.stderr == ""  # nothing that looks like trouble


def test_the_lines_of_make_up_can_be_pasted(
    cluster: Cluster, environment: dict[str, str], hello: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # so that the lines name our programs with whole paths
    data = DataDir.at(cluster.data_dir)
    state = read_state(data.state)
    assert state is not None
    _, _, lines = messages.ready(data, state).partition("Try it:\n")
    pasted = lines.partition("Stop it with:")[0]
    done = subprocess.run(
        ["sh", "-ec", pasted], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '{"hello": "world"}' in done.stdout
