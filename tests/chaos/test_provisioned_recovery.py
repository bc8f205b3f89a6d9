"""Provisioned concurrency outlives what it runs on: after a kill it is there again, without anyone's help."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.chaos.disturbances import kill, wait_for_another
from tests.support import PYTHON, ROLE, wait_until, zip_of

SOURCE = """
import os, time
def handler(event, context):
    time.sleep(1)
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
COUNT = 4


@pytest.fixture
def provisioned(client: Any) -> Iterator[str]:
    """The name of a function whose version 1 has all its provisioned concurrency."""
    name = f"provisioned-{uuid.uuid4().hex[:8]}"
    client.create_function(
        FunctionName=name,
        Runtime=PYTHON,
        Handler="app.handler",
        Role=ROLE,
        Timeout=10,
        Publish=True,
        Code={"ZipFile": zip_of({"app.py": SOURCE})},
    )
    client.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=COUNT)
    wait_until(lambda: serves_all(client, name), deadline_s=60, what="provisioned concurrency to be READY")
    yield name
    client.delete_function(FunctionName=name)


def status(client: Any, name: str) -> tuple[str, int]:
    found = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    return found["Status"], found["AllocatedProvisionedConcurrentExecutions"]


def kinds(client: Any, name: str) -> list[str]:
    """How the environments were initialised that ran COUNT invocations at once."""

    def invoke(_: int) -> str:
        return str(json.loads(client.invoke(FunctionName=name, Qualifier="1", Payload="{}")["Payload"].read()))

    with ThreadPoolExecutor(COUNT) as pool:
        return list(pool.map(invoke, range(COUNT)))


def serves_all(client: Any, name: str) -> bool:
    return status(client, name) == ("READY", COUNT) and kinds(client, name) == ["provisioned-concurrency"] * COUNT


@pytest.mark.timeout(180)
def test_it_is_ready_again_after_its_worker_was_killed(cluster: Any, client: Any, provisioned: str) -> None:
    killed = kill(cluster, "worker-1")
    wait_until(lambda: status(client, provisioned)[0] == "IN_PROGRESS", deadline_s=30, what="the loss to be noticed")
    wait_for_another(cluster, "worker-1", killed)
    wait_until(lambda: status(client, provisioned) == ("READY", COUNT), deadline_s=60, what="READY again")
    assert kinds(client, provisioned) == ["provisioned-concurrency"] * COUNT


@pytest.mark.timeout(180)
@pytest.mark.parametrize("victim", ["scheduler", "redis", "postgres"])
def test_it_serves_on_and_can_be_changed_after_a_kill(cluster: Any, client: Any, provisioned: str, victim: str) -> None:
    wait_for_another(cluster, victim, kill(cluster, victim))

    def grows() -> bool:
        try:
            client.put_provisioned_concurrency_config(
                FunctionName=provisioned, Qualifier="1", ProvisionedConcurrentExecutions=COUNT + 1
            )
        except client.exceptions.ClientError:
            return False
        return True

    wait_until(grows, deadline_s=30, what="the request to be taken")
    wait_until(lambda: status(client, provisioned) == ("READY", COUNT + 1), deadline_s=60, what="one more")
    assert kinds(client, provisioned) == ["provisioned-concurrency"] * COUNT


@pytest.mark.timeout(180)
def test_a_wiped_redis_learns_of_it_again(cluster: Any, client: Any, streams: Any, provisioned: str) -> None:
    for key in streams.scan_iter(match="lambdad:*", count=1_000):
        streams.delete(key)
    wait_until(lambda: streams.smembers("lambdad:{0}:provisioned"), deadline_s=30, what="the worker to report")
    wait_until(lambda: serves_all(client, provisioned), deadline_s=30, what="all of it to serve")
