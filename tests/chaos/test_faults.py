"""After any number of random faults, everything that a worker makes is as it was before.

As many as the suite has time for; `make faults` makes 1,000 of them, FAULTS=n any other number, FAULTS_SEED=n others. What could
not be made (a worker is away, nobody is there to be killed) is no fault, and others are made for it.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.chaos.census import Census
from tests.chaos.faults import Faults

COUNT = int(os.environ.get("FAULTS", "80"))
SEED = int(os.environ.get("FAULTS_SEED", random.randrange(10_000)))
TRIES_MAX = 3
"""Faults that are tried, by those that are wanted."""


@pytest.fixture
def faults(cluster: Any, streams: Any) -> Iterator[tuple[Faults, Census]]:
    client = boto3.client(
        "lambda",
        endpoint_url=cluster.endpoint,
        region_name="us-east-1",
        aws_access_key_id=cluster.access_key_id,
        aws_secret_access_key=cluster.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30, connect_timeout=5, max_pool_connections=20),
    )
    census = Census(cluster, streams)
    faults = Faults(client, census, SEED)
    yield faults, census
    faults.clear()
    client.close()


@pytest.mark.timeout(120 + 2 * COUNT)
def test_after_random_faults_everything_is_as_it_was(faults: tuple[Faults, Census]) -> None:
    made, census = faults
    # What is made once and kept (connections, a zygote) is there before anything is counted.
    made.prepare()
    made.run(40, workers=False)
    made.call_until_right()
    made.clear()
    before = census.settled()
    sys.stderr.write(f"before: {before}\n")
    made.prepare()
    made.forget()
    tried = 0
    while (missing := COUNT - made.made.total()) > 0 and tried < TRIES_MAX * COUNT:
        made.run(missing)
        tried += missing
    made.call_until_right()
    made.clear()
    sys.stderr.write(f"seed {SEED}: made {made.made.total()}: {dict(made.made)}; refused {dict(made.refused)}\n")
    assert not made.wrong, made.wrong[:5]
    assert made.made.total() >= COUNT, (made.made, made.refused)
    assert (more := census.more_than(before)) == {}, f"seed {SEED}: more than before: {more}"
