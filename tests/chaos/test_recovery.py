"""Each service and each engine is killed in the middle of a load: nothing accepted is lost, and nobody has to help.

A choice of what `make chaos` does to a cluster, small enough for every run of the tests.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.chaos.disturbances import ENGINES, SERVICES, Place, kill, restarted, wait_for_another, wiped
from tests.chaos.ledger import untold
from tests.chaos.load import Load
from tests.chaos.traffic import LimitedEvents, Records
from tests.support import wait_until


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", SERVICES + ENGINES)
def test_what_is_killed_under_load_comes_back_and_loses_nothing(
    cluster: Any, client: Any, streams: Any, function: str, victim: str
) -> None:
    with Load(client, streams, function) as load:
        load.wait_for_answers(20)
        wait_for_another(cluster, victim, kill(cluster, victim))
        load.wait_until_whole()
    load.assert_nothing_accepted_is_lost()
    assert untold(cluster, load.accepted) == [], "accepted, and the ledger does not say how it ended"


@pytest.mark.timeout(300)
def test_services_that_are_upgraded_in_turn_lose_nothing_and_keep_order_and_limits(
    cluster: Any, client: Any, streams: Any, function: str
) -> None:
    load = Load(client, streams, function, LimitedEvents(client, streams), Records(client, streams, cluster.kafka))
    with load:
        load.wait_until_whole()
        with restarted(Place(cluster, streams), *SERVICES):
            load.wait_until_whole()
    load.assert_nothing_accepted_is_lost()
    load.close()


@pytest.mark.timeout(180)
def test_leases_are_rebuilt_after_redis_was_wiped(cluster: Any, client: Any, streams: Any, function: str) -> None:
    with Load(client, streams, function) as load:
        load.wait_for_answers(20)
        with wiped(Place(cluster, streams)):
            load.wait_for_answers(20, deadline_s=30)
    load.assert_nothing_accepted_is_lost()
    kept = [json.loads(client.invoke(FunctionName=function, Payload=b'{"n": 1}')["Payload"].read()) for _ in range(5)]
    assert kept == [{"n": 1}] * 5


def test_an_acknowledged_write_survives_the_death_of_postgres(cluster: Any, client: Any, function: str) -> None:
    client.update_function_configuration(FunctionName=function, Description="written before the crash")
    wait_for_another(cluster, "postgres", kill(cluster, "postgres"))

    def described() -> bool:
        try:
            return client.get_function_configuration(FunctionName=function)["Description"] == "written before the crash"
        except client.exceptions.ClientError:
            return False

    wait_until(described, what="the description")
