"""What another user of the same machine gets of a running cluster: nothing."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cluster
from tests.integration.local.conftest import run_lambdad
from tests.support import PYTHON, zip_of

STRANGER = 65_534


def as_stranger(act: Callable[[], Any]) -> Any:
    """What `act` gives in a process of that user's."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            os.write(writing, json.dumps(act()).encode()[:60_000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return json.loads(told)


def readable(paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        try:
            os.listdir(path) if path.is_dir() else path.open("rb").close()
        except OSError:
            continue
        found.append(str(path))
    return found


@pytest.fixture
def used(cluster: Cluster, client: Any) -> Cluster:
    """A cluster that has code, logs, events and messages."""
    name = f"kept-from-others-{uuid.uuid4().hex[:8]}"
    client.create_function(
        FunctionName=name,
        Runtime=PYTHON,
        Handler="f.handler",
        Role="arn:aws:iam::000000000000:role/r",
        Code={"ZipFile": zip_of({"f.py": "def handler(e, c): return 1"})},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    assert client.invoke(FunctionName=name)["Payload"].read() == b"1"
    client.invoke(FunctionName=name, InvocationType="Event")
    return cluster


def test_the_data_directory_is_closed_to_other_users(used: Cluster) -> None:
    everything = [used.data_dir, *used.data_dir.rglob("*")]
    assert any("packages" in path.parts and path.is_file() for path in everything)
    assert any("kafka" in path.parts and path.suffix == ".log" for path in everything)
    assert as_stranger(lambda: readable(everything)) == []


def test_what_is_in_it_is_closed_even_where_the_directory_must_be_passable(used: Cluster) -> None:
    """As on a host where the database's user cannot be given a view of its own."""
    inside = [path for name in ("packages", "redis", "kafka", "logs", "postgres") for path in (used.data_dir / name).rglob("*")]
    mode = used.data_dir.stat().st_mode & 0o777
    assert mode == 0o700
    used.data_dir.chmod(0o711)
    try:
        private = [used.data_dir / name for name in ("credentials.json", "addresses.json", "state.json")]
        assert as_stranger(lambda: readable([*inside, *private])) == []
    finally:
        used.data_dir.chmod(mode)


def test_another_user_is_told_whose_cluster_it_is(used: Cluster) -> None:
    def ask() -> list[str]:
        from deploy.local.state import read_state
        from shared.domain.errors import ConfigurationError

        try:
            read_state(used.data_dir / "state.json")
        except ConfigurationError as error:
            return [str(error)]
        return []

    [said] = as_stranger(ask)
    assert "belongs to another user" in said
    assert run_lambdad("status", "--data-dir", str(used.data_dir)).returncode == 0
