"""A worker on a host of its own: it takes its share, its logs arrive, it comes and goes under load. TLS between the hosts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from botocore.exceptions import BotoCoreError, ClientError

from shared.events.kafka import client_arguments
from shared.events.log_records import decode_log_batch
from shared.settings.kafka import KafkaCluster
from tests.e2e.hosts import WORKER, Hosts, two_hosts
from tests.support import PYTHON, ROLE, wait_until, zip_of

pytestmark = [
    pytest.mark.needs("ip", "nsenter"),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and workers take root"),
    pytest.mark.timeout(240),
]

SOURCE = """
import time
def handler(event, context):
    print('this is call', event['n'])
    time.sleep(event.get('s', 0.02))
    return {'n': event['n'], 'stream': context.log_stream_name}
"""
FUNCTIONS = 24
CALLERS = 6


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with two_hosts() as found:
        yield found


@pytest.fixture(scope="module")
def functions(hosts: Hosts) -> list[str]:
    names = [f"hosts-{number}-{uuid.uuid4().hex[:6]}" for number in range(FUNCTIONS)]
    client: Any = hosts.on_first(lambda: hosts.client("lambda"))

    def make(name: str) -> None:
        package = zip_of({"app.py": SOURCE})
        client.create_function(
            FunctionName=name,
            Runtime=PYTHON,
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": package},
            MemorySize=512,
            Timeout=25,
        )
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0, "MaxAttempts": 500})

    hosts.all_on_first([partial(make, name) for name in names])
    return names


def renew(hosts: Hosts, functions: list[str]) -> None:
    """Have environments of all of them start anew, wherever there is a place."""
    client: Any = hosts.on_first(lambda: hosts.client("lambda"))
    variables = {"Variables": {"MARK": uuid.uuid4().hex}}
    hosts.all_on_first(
        [partial(client.update_function_configuration, FunctionName=name, Environment=variables) for name in functions]
    )


@pytest.fixture
def worker(hosts: Hosts) -> Iterator[None]:
    """The second host's, running."""
    if hosts.worker is None:
        hosts.start_worker()
    yield
    if hosts.worker is not None:
        assert hosts.stop_worker(signal.SIGTERM) == 0, hosts.log_tail()


class Load:
    """Callers on the first host that invoke one function after the other until the block ends, and what came of it."""

    def __init__(self, hosts: Hosts, functions: list[str]) -> None:
        self._hosts = hosts
        self._functions = functions
        self._client: Any = hosts.on_first(lambda: hosts.client("lambda"))
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call_on, args=(number,)) for number in range(CALLERS)]
        self.answered = 0
        self.failures: list[str] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def go_on(self, more: int = 60) -> None:
        """Until so many more calls were answered."""
        enough = self.answered + more
        wait_until(lambda: self.answered >= enough, deadline_s=60, what=f"{more} more answers; failures: {self.failures[-3:]}")

    def _call_on(self, number: int) -> None:
        while not self._stop.is_set():
            number += CALLERS
            name = self._functions[number % len(self._functions)]
            try:
                reply = self._hosts.on_first(lambda: self._client.invoke(FunctionName=name, Payload=json.dumps({"n": number})))  # noqa: B023
                result = json.loads(reply["Payload"].read())
                assert result["n"] == number, result
                self.answered += 1
            except (ClientError, BotoCoreError, KeyError) as error:
                self.failures.append(f"{error}"[:300])


def test_both_hosts_take_their_share_and_both_log(hosts: Hosts, functions: list[str], worker: None) -> None:
    streams: dict[str, int] = {}
    client: Any = hosts.on_first(lambda: hosts.client("lambda"))
    for number, name in enumerate(functions):
        reply = hosts.on_first(lambda: client.invoke(FunctionName=name, Payload=json.dumps({"n": number})))  # noqa: B023
        assert reply["StatusCode"] == 200
        assert "FunctionError" not in reply, reply["Payload"].read()
        streams[json.loads(reply["Payload"].read())["stream"]] = number
    on_second = hosts.environments(WORKER)
    assert FUNCTIONS // 6 <= on_second <= FUNCTIONS * 5 // 6, f"{on_second} of {FUNCTIONS}"
    missing = hosts.on_first(lambda: asyncio.run(_missing_in_logs(hosts, streams)))
    assert not missing, f"{on_second} ran on the second host"


async def _missing_in_logs(hosts: Hosts, streams: dict[str, int]) -> set[str]:
    """Streams whose line is not in the log topic within half a minute. streams: to the number in the line."""
    consumer = AIOKafkaConsumer(
        "lambdad.logs", auto_offset_reset="earliest", **client_arguments(KafkaCluster.of_variables(hosts.engines))
    )
    missing = set(streams)
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            while missing:
                batch = decode_log_batch((await consumer.getone()).value)
                if any(f"this is call {streams.get(batch.log_stream)}" in event.message for event in batch.events):
                    missing.discard(batch.log_stream)
    except TimeoutError:
        pass
    finally:
        await consumer.stop()
    return missing


def test_a_worker_joins_and_drains_under_load_without_a_failed_call(hosts: Hosts, functions: list[str]) -> None:
    with Load(hosts, functions) as load:
        load.go_on()
        for _ in range(2):
            hosts.start_worker()
            renew(hosts, functions)
            wait_until(lambda: hosts.environments(WORKER) > 0, deadline_s=60, what="work on the worker that joined")
            load.go_on()
            assert hosts.stop_worker(signal.SIGTERM) == 0, hosts.log_tail()
            assert not hosts.has_joined()
            load.go_on()
    assert load.failures == []


def test_a_worker_that_drains_waits_for_what_runs_long(hosts: Hosts, functions: list[str]) -> None:
    hosts.start_worker()
    renew(hosts, functions)
    client: Any = hosts.on_first(lambda: hosts.client("lambda"))
    answers: list[int] = []

    def call(number: int) -> None:
        reply = client.invoke(FunctionName=functions[number], Payload=json.dumps({"n": number, "s": 8}))
        answers.append(json.loads(reply["Payload"].read())["n"])

    running = threading.Thread(target=hosts.all_on_first, args=([partial(call, number) for number in range(FUNCTIONS)],))
    running.start()
    leased = "lambdad:{0}:leases:*"
    wait_until(
        lambda: hosts.redis(lambda found: sum(found.hlen(key) for key in found.scan_iter(leased))) == FUNCTIONS,
        deadline_s=30,
        what="all calls to run",
    )
    on_second = hosts.environments(WORKER)
    assert on_second > 0
    assert hosts.stop_worker(signal.SIGTERM) == 0, hosts.log_tail()
    running.join(60)
    assert sorted(answers) == list(range(FUNCTIONS))


def test_of_a_worker_that_is_killed_only_what_it_ran_fails(hosts: Hosts, functions: list[str], worker: None) -> None:
    with Load(hosts, functions) as load:
        renew(hosts, functions)
        wait_until(lambda: hosts.environments(WORKER) > 0, deadline_s=60, what="work on the second host")
        load.go_on()
        assert hosts.stop_worker(signal.SIGKILL) == -signal.SIGKILL
        load.go_on()
        wait_until(lambda: not hosts.has_joined(), what="the dead worker to be given up")
        load.go_on()
        failed = len(load.failures)
        assert failed <= CALLERS, load.failures
        load.go_on()
        assert len(load.failures) == failed
