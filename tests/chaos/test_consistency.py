"""Two frontends and many writers: what one was told is true for the other at once, no update is lost, and what was
acknowledged is there after any process was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.local.credentials import load_or_create
from deploy.local.engines.external import CLIENT_VARIABLES
from deploy.local.layout import DataDir
from deploy.local.ports import choose
from deploy.local.services import ClusterOptions, Service, command
from tests.support import PYTHON, ROLE, mortal, wait_until, zip_of

CHANGES = 12
WRITERS, INCREMENTS = 6, 5
TRIES_MAX = 200
WRITTEN_BEFORE_KILL = 15


def code(number: int) -> bytes:
    return zip_of({"app.py": f"def handler(event, context):\n    return {number}\n"})


def client_of(cluster: Any, endpoint: str) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=cluster.access_key_id,
        aws_secret_access_key=cluster.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30, connect_timeout=5, max_pool_connections=20),
    )


@pytest.fixture(scope="module")
def other(cluster: Any) -> Iterator[Any]:
    """A client of a second frontend of the same cluster."""
    data = DataDir.at(cluster.data_dir)
    port, telemetry = choose(set()), choose(set())
    service = Service("frontend", "frontend-2", telemetry, "")
    engines = {name: value for name, value in cluster.environment.items() if name in CLIENT_VARIABLES}
    launch = command(service, data, ClusterOptions(port, 1, True), engines, load_or_create(data.credentials))
    with launch.log.open("ab") as log:
        process = subprocess.Popen(
            launch.argv, env=dict(launch.environment), cwd=launch.cwd, stdout=log, stderr=log, preexec_fn=mortal()
        )
    try:
        client = client_of(cluster, f"http://127.0.0.1:{port}")
        wait_until(lambda: process.poll() is not None or answers(client), deadline_s=60, what="the second frontend answers")
        assert process.poll() is None, launch.log.read_text()[-2000:]
        yield client
    finally:
        process.terminate()
        process.wait(20)


def answers(client: Any) -> bool:
    try:
        return bool(client.list_functions())
    except (BotoCoreError, ClientError):
        return False


@pytest.fixture
def made(client: Any) -> Iterator[str]:
    name = f"consistent-{uuid.uuid4().hex[:8]}"
    client.create_function(
        FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": code(0)}, Publish=True
    )
    wait_until(lambda: client.get_function_configuration(FunctionName=name)["State"] == "Active")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", Description="0")
    yield name
    client.delete_function(FunctionName=name)


def test_each_frontend_sees_the_others_writes_on_the_next_call(client: Any, other: Any, made: str) -> None:
    for number in range(CHANGES):
        one, two = (client, other) if number % 2 else (other, client)
        wait_until(lambda two=two: settled(two, made), what="the last change is done")
        one.update_function_configuration(FunctionName=made, Description=f"change {number}")
        assert two.get_function_configuration(FunctionName=made)["Description"] == f"change {number}"
        one.update_alias(FunctionName=made, Name="live", Description=str(number))
        assert two.get_alias(FunctionName=made, Name="live")["Description"] == str(number)
        one.put_function_concurrency(FunctionName=made, ReservedConcurrentExecutions=number)
        assert two.get_function_concurrency(FunctionName=made)["ReservedConcurrentExecutions"] == number
    client.delete_function_concurrency(FunctionName=made)
    client.delete_alias(FunctionName=made, Name="live")
    with pytest.raises(other.exceptions.ResourceNotFoundException):
        other.invoke(FunctionName=made, Qualifier="live")


def test_an_invocation_after_an_update_runs_the_new_code_through_either_frontend(client: Any, other: Any, made: str) -> None:
    for number in range(1, CHANGES):
        one, two = (client, other) if number % 2 else (other, client)
        one.update_function_code(FunctionName=made, ZipFile=code(number))
        wait_until(lambda one=one: settled(one, made), poll_s=0.005, what="the update is done")
        assert [invoked(two, made), invoked(one, made)] == [number, number]
        version = one.publish_version(FunctionName=made)["Version"]
        two.update_alias(FunctionName=made, Name="live", FunctionVersion=version)
        assert invoked(one, made, "live") == number


def test_writers_who_check_the_revision_never_lose_an_update(client: Any, other: Any, made: str) -> None:
    def increment(writer: int) -> None:
        through = client if writer % 2 else other
        for _ in range(INCREMENTS):
            for _ in range(TRIES_MAX):
                alias = through.get_alias(FunctionName=made, Name="live")
                about = {"FunctionName": made, "Name": "live", "RevisionId": alias["RevisionId"]}
                try:
                    through.update_alias(**about, Description=str(int(alias["Description"]) + 1))
                    break
                except through.exceptions.PreconditionFailedException:
                    continue
            else:
                raise AssertionError(f"no update went through in {TRIES_MAX} tries")

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(increment, range(WRITERS)))
    assert client.get_alias(FunctionName=made, Name="live")["Description"] == str(WRITERS * INCREMENTS)


@pytest.mark.parametrize("victim", ["frontend", "postgres"])
def test_what_was_acknowledged_is_there_after_a_kill(cluster: Any, client: Any, made: str, victim: str) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            name = f"alias-{len(acknowledged)}-{uuid.uuid4().hex[:6]}"
            try:
                client.create_alias(FunctionName=made, Name=name, FunctionVersion="1")
                acknowledged.append(name)
            except (BotoCoreError, ClientError):
                time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: len(acknowledged) >= WRITTEN_BEFORE_KILL, what="enough writes")
        os.kill(process_of(cluster, victim), signal.SIGKILL)
        before = len(acknowledged)
        wait_until(lambda: len(acknowledged) >= before + WRITTEN_BEFORE_KILL, deadline_s=60, what="writes after the kill")
    finally:
        stop.set()
        writer.join(60)
    pages = client.get_paginator("list_aliases").paginate(FunctionName=made)
    kept = {alias["Name"] for page in pages for alias in page["Aliases"]}
    assert set(acknowledged) <= kept


def settled(client: Any, name: str) -> bool:
    return bool(client.get_function_configuration(FunctionName=name).get("LastUpdateStatus") == "Successful")


def invoked(client: Any, name: str, qualifier: str = "$LATEST") -> Any:
    return json.loads(client.invoke(FunctionName=name, Qualifier=qualifier)["Payload"].read())


def process_of(cluster: Any, name: str) -> int:
    return int(cluster.ready(name)[name]["pid"])
