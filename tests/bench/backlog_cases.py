"""Benchmarks of a backlog: what a function feels of another one's."""

from __future__ import annotations

import json
import os
import time
import traceback
import uuid

import redis

from shared.queues import stream_key
from tests.bench.measure import Sample, send_all
from tests.bench.peers.cluster import Cluster
from tests.bench.report import Outcome, Row
from tests.support import PYTHON, ROLE, wait_until, zip_of

QUEUED = int(os.environ.get("BENCH_QUEUED", "20000"))
FAST_EVENTS, FAST_EVERY_S = 600, 0.02
SLOW_MS = 50
CLIENTS = 64
TOLD_TIMEOUT_S = 120.0
RESERVED_SLOW = 1
SOURCE = """
import time
def handler(event, context):
    started = time.time()
    time.sleep(event.get('sleep_ms', 0) / 1000)
    return {'took_ms': (started - event['sent']) * 1000}
"""


class Backlog:
    """A cluster with a slow function, of which one may run at a time, and a fast one whose ends are told to a queue."""

    def __init__(self, cluster: Cluster) -> None:
        self._endpoint = cluster.endpoint()
        self.client = cluster.functions().client
        self._redis = redis.Redis.from_url(cluster.variables["REDIS_URL"], decode_responses=True)
        self.slow, self.fast = (f"backlog-{kind}-{uuid.uuid4().hex[:8]}" for kind in ("slow", "fast"))
        self._told = 0
        for name in (self.slow, self.fast):
            self._make(name)
        self.client.put_function_concurrency(FunctionName=self.slow, ReservedConcurrentExecutions=RESERVED_SLOW)
        destination = {"OnSuccess": {"Destination": f"arn:aws:sqs:us-east-1:000000000000:{self.fast}"}}
        self.client.put_function_event_invoke_config(FunctionName=self.fast, DestinationConfig=destination)

    def _make(self, name: str) -> None:
        self.client.create_function(
            FunctionName=name,
            Runtime=PYTHON,
            Handler="app.handler",
            Role=ROLE,
            Timeout=10,
            MemorySize=512,
            Code={"ZipFile": zip_of({"app.py": SOURCE})},
        )
        wait_until(lambda: self.client.get_function_configuration(FunctionName=name)["State"] == "Active")

    def close(self) -> None:
        """What is queued of a function that is gone is dropped."""
        for name in (self.slow, self.fast):
            self.client.delete_function(FunctionName=name)
        self._redis.close()

    def queue(self, count: int, sleep_ms: int = SLOW_MS) -> None:
        """Events of the slow function."""
        payload = json.dumps({"sent": time.time(), "sleep_ms": sleep_ms}).encode()
        sent = send_all(self._endpoint, [self.slow], payload, clients=CLIENTS, count=count, event=True)
        if sent.bad:
            raise RuntimeError(f"{sent.bad} of {count} events were refused: {sent.statuses}")

    def latency(self, count: int = FAST_EVENTS) -> Sample:
        """From before an event of the fast function is sent until it starts, in order of ends."""
        for _ in range(count):
            self.client.invoke(FunctionName=self.fast, InvocationType="Event", Payload=json.dumps({"sent": time.time()}))
            time.sleep(FAST_EVERY_S)
        key = stream_key(self.fast)
        wait_until(
            lambda: self._redis.xlen(key) >= self._told + count, deadline_s=TOLD_TIMEOUT_S, what="fast events to be told of"
        )
        found = [json.loads(fields["body"])["responsePayload"]["took_ms"] for _, fields in self._redis.xrange(key)]
        mine, self._told = found[self._told :], len(found)
        sample = Sample()
        for took_ms in mine:
            sample.latencies_s.append(took_ms / 1_000)
        return sample


def neighbours(cluster: Cluster, absent: str | None) -> Outcome:
    title = f"event to start beside {QUEUED:,} queued events of a function with reserved concurrency {RESERVED_SLOW}"
    outcome = Outcome("neighbours", title, "p99_ms")
    if absent:
        outcome.rows.append(Row("lambdad", absent=absent))
        return outcome
    try:
        backlog = Backlog(cluster)
        backlog.latency(50)
        alone = backlog.latency()
        backlog.queue(QUEUED)
        arriving = backlog.latency()
        later = backlog.latency()
        backlog.close()
    except Exception as error:
        traceback.print_exc()
        outcome.rows.append(Row("lambdad", absent=f"failed while it was measured: {error}"))
        return outcome
    for name, sample in (("lambdad beside it", later), ("lambdad, right after they came", arriving), ("lambdad alone", alone)):
        row = Row(name, p50_ms=sample.quantile_ms(0.5), p99_ms=sample.quantile_ms(0.99), count=len(sample.latencies_s))
        outcome.rows.append(row)
    return outcome
