"""What waits, waits in Kafka: a backlog that is larger than what any service may keep. `make bench NAME=backlog-events` tries it
with a million."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.bench.measure import send_all
from tests.bench.signing import Endpoint
from tests.conftest import Cluster
from tests.e2e.conftest import MakeFunction
from tests.support import wait_until

EVENTS, PAYLOAD_BYTES = 30_000, 4_000
GROWTH_BYTES_MAX = 112 * 1024**2
"""Less than the events have in bytes, and several times what a poller or router holds of so small ones at one time."""
SERVICES = ("frontend", "poller", "router", "scheduler", "worker-1")
SLEEPS = """
import time

def handler(event, context):
    time.sleep(event.get("sleep_s", 0))
"""


def test_a_backlog_is_in_the_memory_of_no_service(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    slow = make_function(SLEEPS)
    client.put_function_concurrency(FunctionName=slow, ReservedConcurrentExecutions=1)
    children = cluster.ready()
    services = {name: psutil.Process(children[name]["pid"]) for name in SERVICES}
    before = {name: process.memory_info().rss for name, process in services.items()}
    most = dict(before)

    def watched(condition: Callable[[], object]) -> object:
        for name, process in services.items():
            most[name] = max(most[name], process.memory_info().rss)
        return condition()

    payload = json.dumps({"sleep_s": 5, "filling": "x" * PAYLOAD_BYTES}).encode()
    metrics = children["poller"]["ready_url"].replace("/ready", "/metrics")
    put_back = put_back_of(metrics)
    with ThreadPoolExecutor(1) as sender:
        sending = sender.submit(send_all, endpoint_of(cluster), [slow], payload, clients=32, count=EVENTS, event=True)
        wait_until(lambda: watched(sending.done), deadline_s=120, poll_s=0.2)
        assert sending.result().statuses == {"202": EVENTS}
        # All but the few that the poller itself keeps have gone through it and wait in a delay tier.
        wait_until(lambda: watched(lambda: put_back_of(metrics) - put_back > EVENTS * 0.9), deadline_s=120, poll_s=0.2)
    grown = {name: (most[name] - before[name]) // 1024**2 for name in SERVICES}
    assert max(grown.values()) < GROWTH_BYTES_MAX // 1024**2, f"MiB that services grew by: {grown}"


def endpoint_of(cluster: Cluster) -> Endpoint:
    at = urlsplit(cluster.endpoint)
    return Endpoint(at.hostname or "", at.port or 80, cluster.access_key_id, cluster.secret_access_key)


def put_back_of(metrics: str) -> float:
    """How many events the poller has put into a delay tier. metrics: its address."""
    with urllib.request.urlopen(metrics, timeout=10) as answer:
        text = answer.read().decode()
    return sum(map(float, re.findall(r"^lambdad_async_put_back_total\{[^}]*\} (\S+)$", text, re.MULTILINE)))
