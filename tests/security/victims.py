"""Who must not notice what hostile functions do: another function's callers, and the worker."""

from __future__ import annotations

import http.client
import math
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.conftest import Cluster
from tests.e2e.conftest import MakeFunction

CALLS_MIN = 200
WORKER_BYTES_MAX = 50 * 1024 * 1024
VICTIM = "def handler(event, context):\n    return event\n"


class Victim:
    """Calls of an innocent function, one after the other, on one connection."""

    def __init__(self, cluster: Cluster, function: str) -> None:
        url = urllib.parse.urlsplit(cluster.endpoint)
        path = f"/2015-03-31/functions/{function}/invocations"
        request = AWSRequest("POST", cluster.endpoint + path, data=b"{}")
        SigV4Auth(Credentials(cluster.access_key_id, cluster.secret_access_key), "lambda", "us-east-1").add_auth(request)
        self._path, self._headers = path, dict(request.headers.items())
        self._connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)

    def call_ms(self) -> float:
        began = time.perf_counter()
        self._connection.request("POST", self._path, b"{}", self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        took_ms = (time.perf_counter() - began) * 1e3
        assert (answer.status, body, answer.headers.get("X-Amz-Function-Error")) == (200, b"{}", None)
        return took_ms

    def p99_ms(self, seconds: float) -> float:
        until = time.monotonic() + seconds
        taken: list[float] = []
        while time.monotonic() < until or len(taken) < CALLS_MIN:
            taken.append(self.call_ms())
        taken.sort()
        return taken[math.ceil(len(taken) * 0.99) - 1]

    def close(self) -> None:
        self._connection.close()


@dataclass
class Worker:
    """The one process that runs everything. alone_ms: the best p99 of calls beside nothing. grown_bytes: at most, since `watch` began."""

    process: psutil.Process
    alone_ms: float = math.inf
    grown_bytes: int = 0

    def watch(self, stop: threading.Event, before: int) -> None:
        while not stop.wait(0.02):
            self.grown_bytes = max(self.grown_bytes, self.process.memory_info().rss - before)


@pytest.fixture(scope="module")
def worker(cluster: Cluster) -> Worker:
    return Worker(psutil.Process(cluster.ready("worker-1")["worker-1"]["pid"]))


@pytest.fixture
def victim(cluster: Cluster, make_function: MakeFunction) -> Iterator[Victim]:
    victim = Victim(cluster, make_function(VICTIM, MemorySize=1_769))
    for _ in range(50):
        victim.call_ms()
    yield victim
    victim.close()
