"""A worker on a host of its own: it takes its share, its logs arrive, it comes and goes under load. TLS between the hosts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import urllib.request
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
from tests.e2e.hosts import FIRST, HEALTH_PORT, SECOND, WORKER, Hosts, two_hosts
from tests.integration.network.world import Server
from tests.support import PYTHON, ROLE, wait_until, zip_of

pytestmark = [
    pytest.mark.needs("ip", "nsenter"),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and workers take root"),
    pytest.mark.timeout(240),
]

SOURCE = """
import errno, socket, time

def connect(address):
    try:
        socket.create_connection(tuple(address), 5).close()
        return 'connected'
    except TimeoutError:
        return 'ETIMEDOUT'
    except OSError as error:
        return errno.errorcode[error.errno]

def who():
    import boto3
    return boto3.client('sts').get_caller_identity()['Arn']

def handler(event, context):
    if 'connect' in event:
        return [connect(each) for each in event['connect']]
    if 'who' in event:
        return who()
    print('this is call', event['n'])
    time.sleep(event.get('s', 0.02))
    return {'n': event['n'], 'stream': context.log_stream_name}
"""
FUNCTIONS = 24
MEMORY_MB = 3_008
"""So much that a worker has a share: below a 256th of its memory, whatever functions a worker is home to may all be there."""
CALLERS = 6


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with two_hosts() as found:
        yield found


@pytest.fixture(scope="module")
def functions(hosts: Hosts) -> list[str]:
    names = [f"hosts-{number}-{uuid.uuid4().hex[:6]}" for number in range(FUNCTIONS)]
    client: Any = hosts.on_first(lambda: hosts.client("lambda"))
    hosts.all_on_first([partial(make, client, name) for name in names])
    return names


def make(client: Any, name: str) -> None:
    package = zip_of({"app.py": SOURCE})
    client.create_function(
        FunctionName=name,
        Runtime=PYTHON,
        Handler="app.handler",
        Role=ROLE,
        Code={"ZipFile": package},
        MemorySize=MEMORY_MB,
        Timeout=25,
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0, "MaxAttempts": 500})


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


@pytest.fixture
def witnesses(hosts: Hosts) -> Iterator[tuple[Server, Server]]:
    """Servers on the first host that know who came: one at a port of its own, one where its Postgres would be, listened that on
    more than loopback."""
    port = hosts.postgres_port()
    servers = hosts.on_first(lambda: (Server("beside", FIRST, 0), Server("postgres", FIRST, port)))
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def on_second(hosts: Hosts, worker: None, witnesses: tuple[Server, Server]) -> str:
    """A function whose one environment is there, idle: it reaches a port of the first host, which functions of that do not."""
    beside = [FIRST, witnesses[0].port]
    client: Any = hosts.on_first(lambda: hosts.client("lambda"))
    for _ in range(FUNCTIONS):
        name = f"hosts-second-{uuid.uuid4().hex[:6]}"
        hosts.on_first(partial(make, client, name))
        if call(hosts, name, {"connect": [beside]}) == ["connected"]:
            wait_until(lambda: witnesses[0].seen == [SECOND], what="the connection to be seen to come from the second host")
            return name
    raise AssertionError("all functions run on the first host")


def call(hosts: Hosts, name: str, event: object) -> Any:
    client: Any = hosts.on_first(lambda: hosts.client("lambda"))
    reply = hosts.on_first(lambda: client.invoke(FunctionName=name, Payload=json.dumps(event)))
    payload = json.loads(reply["Payload"].read())
    assert "FunctionError" not in reply, payload
    return payload


def test_functions_of_a_host_without_a_frontend_call_their_cluster(hosts: Hosts, on_second: str) -> None:
    """By the variables that docs/hosts.md names; and the worker has nothing to say against it."""
    assert call(hosts, on_second, {"who": True}).endswith(f"/{on_second}")
    assert hosts.on_second(lambda: json.load(urllib.request.urlopen(f"http://127.0.0.1:{HEALTH_PORT}/ready")))["weaker"] == {}


def test_engines_and_workers_of_another_host_are_kept_from_functions(
    hosts: Hosts, on_second: str, witnesses: tuple[Server, Server]
) -> None:
    """Also Postgres, of which the second host's worker was told nothing."""
    beside, postgres = witnesses
    closed = [(FIRST, postgres.port), hosts.address_of_the_first_worker(), (FIRST, 6379), (FIRST, 9092)]
    for address in closed:
        hosts.on_second(lambda: socket.create_connection(address, 5).close())  # noqa: B023
    wait_until(lambda: postgres.seen == [SECOND], what="the host's own connection to be seen")
    found = call(hosts, on_second, {"connect": [*closed, (FIRST, beside.port)]})
    assert found == [*["EHOSTUNREACH"] * len(closed), "connected"]
    wait_until(lambda: beside.seen == [SECOND] * 2, what="the connection beside them to be seen")
    assert postgres.seen == [SECOND]


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
