"""Each service and each engine is killed in the middle of a load: nothing accepted is lost, and nobody has to help."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.chaos.load import Load
from tests.support import wait_until

SERVICES = ["frontend", "scheduler", "worker-1", "poller", "router"]
ENGINES = ["redis", "kafka", "postgres"]


def kill(cluster: Any, name: str) -> int:
    pid = int(cluster.ready(name)[name]["pid"])
    os.kill(pid, signal.SIGKILL)
    return pid


def is_ready_again(cluster: Any, name: str, killed: int) -> bool:
    child = cluster.children()[name]
    return child["state"] == "ready" and child["pid"] != killed and child["restarts"] >= 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", SERVICES + ENGINES)
def test_what_is_killed_under_load_comes_back_and_loses_nothing(
    cluster: Any, client: Any, streams: Any, function: str, victim: str
) -> None:
    with Load(client, streams, function) as load:
        load.wait_for_answers(20)
        killed = kill(cluster, victim)
        wait_until(
            lambda: is_ready_again(cluster, victim, killed), deadline_s=60, poll_s=0.3, what=f"{victim} to be ready again"
        )
        load.wait_for_answers(20, deadline_s=60)
        accepted = len(load.accepted)
        wait_until(lambda: len(load.accepted) >= accepted + 20, deadline_s=30, what="events to be accepted again")
    assert len(load.accepted) > 0
    load.assert_nothing_accepted_is_lost()


@pytest.mark.timeout(180)
def test_leases_are_rebuilt_after_redis_was_wiped(cluster: Any, client: Any, streams: Any, function: str) -> None:
    with Load(client, streams, function) as load:
        load.wait_for_answers(20)
        # Only the dispatch keys: queues are the user's data, leases are not.
        for key in streams.scan_iter(match="lambdad:*", count=1_000):
            streams.delete(key)
        load.wait_for_answers(20, deadline_s=30)
    load.assert_nothing_accepted_is_lost()
    kept = [json.loads(client.invoke(FunctionName=function, Payload=b'{"n": 1}')["Payload"].read()) for _ in range(5)]
    assert kept == [{"n": 1}] * 5


def test_an_acknowledged_write_survives_the_death_of_postgres(cluster: Any, client: Any, function: str) -> None:
    client.update_function_configuration(FunctionName=function, Description="written before the crash")
    killed = kill(cluster, "postgres")
    wait_until(
        lambda: is_ready_again(cluster, "postgres", killed), deadline_s=60, poll_s=0.3, what="postgres to be ready again"
    )

    def described() -> bool:
        try:
            return client.get_function_configuration(FunctionName=function)["Description"] == "written before the crash"
        except client.exceptions.ClientError:
            return False

    wait_until(described, what="the description")
