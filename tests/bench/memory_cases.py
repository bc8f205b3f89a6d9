"""What each service has in memory while a great many events, messages or deliveries wait: those wait in Kafka and Redis.

A round of these takes minutes and the disk's space for what waits, so each is asked for by its name.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Self

import redis

from tests.bench.backlog_cases import Backlog
from tests.bench.load import DRAIN_S, Load
from tests.bench.peers.cluster import Cluster
from tests.bench.queue_cases import generate, made
from tests.bench.report import Outcome, Row
from tests.bench.stuck_target import StuckTarget
from tests.bench.topic_cases import BATCH, publish_requests

EVENTS = int(os.environ.get("BENCH_BACKLOG", "1000000"))
DELIVERIES = int(os.environ.get("BENCH_DELIVERIES", "100000"))
AT_ONCE = 50_000
"""Requests that are signed ahead."""
SLEEP_MS = 2_000
CLIENTS = 32
ROUND_S = 5.0
PUBLISH_TIMEOUT_S = 300.0
REST_S = 30.0
"""What waits comes round in delay tiers: so long that is watched, when all of it is there."""
SAMPLE_EVERY_S = 0.5
WATCHED = ("frontend", "poller", "router", "scheduler", "worker-1")
GROWTH_KIB_MAX = 200 * 1024
"""Of one service: its bounds in bytes (what a poller holds, fetches of Kafka) with what Python makes of them."""


class Watched:
    """What the services had in memory before, and at most while the context was open, in KiB by name."""

    def __init__(self, cluster: Cluster) -> None:
        self._processes = cluster.children()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self._now()
        self.most = dict(self.before)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            for name, kib in self._now().items():
                self.most[name] = max(kib, self.most[name])

    def _now(self) -> dict[str, int]:
        return {name: process.memory_info().rss // 1024 for name, process in self._processes.items()}

    def rows(self, count: int) -> list[Row]:
        """A service that took more than it may has failed."""
        rows = []
        for name in WATCHED:
            grown = self.most[name] - self.before[name]
            note = f"{self.before[name]:,} KiB before"
            rows.append(Row(f"lambdad {name}", kib=self.most[name], count=count, failed=int(grown > GROWTH_KIB_MAX), note=note))
        return rows


def events(cluster: Cluster, absent: str | None) -> Outcome:
    """Of a function of which one may run at a time, and takes two seconds."""
    title = f"memory of each service with {EVENTS:,} events of a throttled function waiting"
    return _measured("backlog-events", title, absent, lambda: _events(cluster))


def _events(cluster: Cluster) -> list[Row]:
    backlog = Backlog(cluster)
    backlog.latency(50)
    with Watched(cluster) as watched:
        for _ in range(0, EVENTS, AT_ONCE):
            backlog.queue(min(AT_ONCE, EVENTS), SLEEP_MS)
        time.sleep(REST_S)
        beside = backlog.latency()
    backlog.close()
    row = Row(
        "lambdad, a function beside it", p50_ms=beside.quantile_ms(0.5), p99_ms=beside.quantile_ms(0.99), note="event to start"
    )
    return [*watched.rows(EVENTS), row, _redis_row(watched)]


def messages(cluster: Cluster, absent: str | None) -> Outcome:
    """In one queue, of about a hundred bytes each. Redis keeps them, everybody else nothing of them."""
    title = f"memory of each service, and of Redis, with {EVENTS:,} messages in one queue"
    return _measured("backlog-messages", title, absent, lambda: _messages(cluster))


def _messages(cluster: Cluster) -> list[Row]:
    endpoint = cluster.endpoint()
    urls = made(endpoint, "backlog", 1)
    server = redis.Redis.from_url(cluster.variables["QUEUES_REDIS_URL"])
    before = server.info("memory")["used_memory"]
    sent = 0.0
    with Watched(cluster) as watched:
        while sent < EVENTS:
            sample = generate(endpoint, urls, ROUND_S, sends=True)
            if sample.bad:
                raise RuntimeError(f"{sample.bad} batches were refused: {sample.statuses}")
            sent += sample.statuses["200"] * BATCH
    taken = server.info("memory")["used_memory"] - before
    server.close()
    each = Row("lambdad, a message in Redis", kib=taken / sent / 1024, count=int(sent), note=f"{taken / sent:.0f} bytes")
    return [*watched.rows(int(sent)), each]


def deliveries(cluster: Cluster, absent: str | None) -> Outcome:
    """Of a topic's messages to an address that takes every connection and never answers."""
    title = f"memory of each service with {DELIVERIES:,} deliveries to an address that does not answer"
    return _measured("backlog-deliveries", title, absent, lambda: _deliveries(cluster))


def _deliveries(cluster: Cluster) -> list[Row]:
    endpoint = cluster.endpoint()
    with StuckTarget(endpoint) as stuck, Watched(cluster) as watched:
        requests = itertools.islice(publish_requests(endpoint, stuck.topic_arn), DELIVERIES // BATCH)
        load = Load(endpoint, requests, CLIENTS, float("inf"))
        load.run(time.perf_counter() + PUBLISH_TIMEOUT_S + DRAIN_S)
        if load.statuses["200"] != DELIVERIES // BATCH:
            raise RuntimeError(f"batches were refused: {load.statuses} {load.failures}")
        time.sleep(REST_S)
        tried = stuck.connections
    return [*watched.rows(DELIVERIES), Row("lambdad, connections it was tried by", count=tried)]


def _redis_row(watched: Watched) -> Row:
    return Row("lambdad redis", kib=watched.most["redis"], note=f"{watched.before['redis']:,} KiB before")


def _measured(name: str, title: str, absent: str | None, measure: Callable[[], list[Row]]) -> Outcome:
    outcome = Outcome(name, title, "kib")
    if absent is None:
        try:
            outcome.rows.extend(measure())
        except Exception as error:
            traceback.print_exc()
            absent = f"failed while it was measured: {error}"
    if absent is not None:
        outcome.rows.append(Row("lambdad", absent=absent))
    return outcome
