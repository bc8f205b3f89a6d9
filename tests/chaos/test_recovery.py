"""Each service and each engine is killed in the middle of a load: nothing accepted is lost, and nobody has to help.

A choice of what `make chaos` does to a cluster, small enough for every run of the tests.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.disturbances import (
    ENGINES,
    SERVICES,
    kill,
    killed_while_trying,
    restarted,
    wait_for_another,
    wiped,
    wiped_whole,
)
from tests.chaos.everything import everything
from tests.chaos.ledger import untold
from tests.chaos.load import Load
from tests.chaos.place import Place
from tests.chaos.traffic.invocations import Calls, Events, LimitedEvents
from tests.chaos.traffic.records import Records
from tests.support import wait_until


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", SERVICES + ENGINES)
def test_what_is_killed_under_load_comes_back_and_loses_nothing(cluster: Any, load: Load, victim: str) -> None:
    with load.running():
        load.wait_for_answers(20)
        wait_for_another(cluster, victim, kill(cluster, victim))
        load.wait_until_whole()
    load.assert_nothing_accepted_is_lost()
    assert untold(cluster, load.request_ids) == [], "accepted, and the ledger does not say how it ended"


@pytest.mark.timeout(300)
def test_services_that_are_upgraded_in_turn_lose_nothing_and_keep_order_and_limits(place: Place) -> None:
    with Load(Calls(place), Events(place), LimitedEvents(place), Records(place)).opened() as load:
        with load.running():
            load.wait_until_whole()
            with restarted(place, *SERVICES):
                load.wait_until_whole()
        load.assert_nothing_accepted_is_lost()


@pytest.mark.timeout(300)
def test_a_router_killed_between_trying_and_settling_and_a_wiped_redis_lose_nothing_but_what_queues_held(
    cluster: Any, place: Place
) -> None:
    """Of any kind of traffic: queues, topics, buses, schedules, destinations."""
    with everything(place, retries=False).opened() as load:
        with load.running():
            with killed_while_trying(place):
                load.wait_until_whole()
            with wiped_whole(place):
                load.wait_until_whole()
        load.assert_nothing_accepted_is_lost()
        assert untold(cluster, load.request_ids) == [], "accepted, and the ledger does not say how it ended"


@pytest.mark.timeout(180)
def test_leases_are_rebuilt_after_redis_was_wiped(place: Place, load: Load) -> None:
    with load.running():
        load.wait_for_answers(20)
        with wiped(place):
            load.wait_for_answers(20, deadline_s=30)
    load.assert_nothing_accepted_is_lost()


def test_an_acknowledged_write_survives_the_death_of_postgres(cluster: Any, place: Place) -> None:
    sqs = place.client("sqs")
    url = sqs.create_queue(QueueName="written", Attributes={"DelaySeconds": "7"})["QueueUrl"]
    wait_for_another(cluster, "postgres", kill(cluster, "postgres"))

    def described() -> bool:
        try:
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["DelaySeconds"])["Attributes"]
        except sqs.exceptions.ClientError:
            return False
        return bool(found == {"DelaySeconds": "7"})

    wait_until(described, what="what was written before the crash")
    sqs.delete_queue(QueueUrl=url)
