"""The whole service on real Postgres and Redis, with a boto3 client: its start, its life without an engine, its stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from services.frontend.main import serve
from shared.settings import Settings
from tests.support import PATIENCE_S, ROLE, wait_until, zip_of

KEY, SECRET = "AKIDROOT", "root-secret"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def settings_of(data_dir: Path, **sections: Any) -> Settings:
    return Settings.model_validate(
        {
            "data_dir": data_dir,
            "cluster_secret": "test-cluster-secret",
            "kafka_bootstrap_servers": f"127.0.0.1:{free_port()}",
            "redis_url": f"redis://127.0.0.1:{free_port()}/0",
            "database_url": f"postgresql://nobody@127.0.0.1:{free_port()}/nothing",
            "frontend": {
                "port": free_port(),
                "root_access_key_id": KEY,
                "root_secret_access_key": SECRET,
                "queue_wait_s": 0.3,
            },
            **sections,
        }
    )


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    stop = asyncio.Event()
    service = asyncio.create_task(serve(settings, stop))
    url = f"http://127.0.0.1:{settings.frontend.port}"
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (await get(f"{url}/_lambdad/health"))[0] != 200:
                assert not service.done(), await service
                await asyncio.sleep(0.02)
        yield url
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await service


async def get(url: str) -> tuple[int, bytes]:
    def fetch() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    return await asyncio.to_thread(fetch)


@functools.cache
def client_of(url: str) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(retries={"max_attempts": 0}),
    )


async def status_of(call: Any, **arguments: Any) -> tuple[int, str]:
    try:
        answer = await asyncio.to_thread(call, **arguments)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Message"]
    return answer["ResponseMetadata"]["HTTPStatusCode"], ""


def listed(client: Any) -> bool:
    try:
        client.list_functions()
    except ClientError:
        return False
    return True


@pytest.fixture(scope="module")
async def service(postgres_engine: str, redis_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """With Postgres and Redis but without Kafka."""
    settings = settings_of(tmp_path_factory.mktemp("frontend"), database_url=postgres_engine, redis_url=redis_engine)
    async with serving(settings) as url:
        await asyncio.to_thread(wait_until, lambda: listed(client_of(url)), what="the API")
        yield url


async def test_a_service_without_engines_is_alive_but_not_ready_and_stops_at_once(tmp_path: Path) -> None:
    async with serving(settings_of(tmp_path)) as url:
        status, body = await get(f"{url}/_lambdad/ready")
        assert status == 503
        assert json.loads(body)["status"] == "not ready"
        assert (await status_of(client_of(url).list_functions))[0] == 503


async def test_functions_are_made_listed_and_deleted_through_boto3(service: str) -> None:
    client = client_of(service)
    package = zip_of({"app.py": "def handler(event, context): return event\n"})
    made = await asyncio.to_thread(
        client.create_function,
        FunctionName="edge-f",
        Runtime="python3.12",
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": package},
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["State"] == "Pending"
    await asyncio.to_thread(client.get_waiter("function_active_v2").wait, FunctionName="edge-f", WaiterConfig={"Delay": 1})
    found = await asyncio.to_thread(client.get_function, FunctionName=made["FunctionArn"])
    assert found["Configuration"]["CodeSha256"] == made["CodeSha256"]
    location = found["Code"]["Location"]
    assert location.startswith(f"{service}/_lambdad/packages/")
    assert await get(location) == (200, package)
    assert (await get(location[:-1] + ("0" if location[-1] != "0" else "1")))[0] == 403
    assert [f["FunctionName"] for f in (await asyncio.to_thread(client.list_functions))["Functions"]] == ["edge-f"]
    assert await status_of(client.delete_function, FunctionName="edge-f") == (204, "")
    status, text = await status_of(client.get_function, FunctionName="edge-f")
    assert (status, text) == (404, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:edge-f")


async def test_an_unknown_function_is_not_found_by_invoke(service: str) -> None:
    status, text = await status_of(client_of(service).invoke, FunctionName="nothing")
    assert status == 404
    assert text == "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nothing:$LATEST"


async def test_without_kafka_events_are_refused_and_the_rest_works(service: str) -> None:
    client = client_of(service)
    package = zip_of({"app.py": "def handler(event, context): return event\n"})
    await asyncio.to_thread(
        client.create_function,
        FunctionName="edge-g",
        Runtime="python3.12",
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": package},
    )
    await asyncio.to_thread(client.get_waiter("function_active_v2").wait, FunctionName="edge-g", WaiterConfig={"Delay": 1})
    assert (await status_of(client.invoke, FunctionName="edge-g", InvocationType="Event"))[0] == 500
    assert (await status_of(client.invoke, FunctionName="edge-g", InvocationType="DryRun"))[0] == 204
    status, body = await get(f"{service}/_lambdad/ready")
    assert status == 503
    assert "events" in json.loads(body)["problems"]["parts"]


async def test_without_a_worker_an_invocation_waits_and_is_then_throttled(service: str) -> None:
    client = client_of(service)
    status, _ = await status_of(client.invoke, FunctionName="edge-g")
    assert status in (429, 500)
    metrics = (await get(f"{service}/_lambdad/metrics"))[1].decode()
    assert "lambdad_frontend_invocations_total{" in metrics
