"""A cluster of its own for the tests that break it, and a function under load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import redis
from botocore.config import Config
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.chaos.traffic import SOURCE
from tests.support import PYTHON, ROLE, wait_until, zip_of

FUNCTION = "chaos"


@pytest.fixture(autouse=True)
def whole(cluster: Any) -> Iterator[None]:
    """The next test, of this folder or another, finds everything running again."""
    yield
    cluster.ready()


@pytest.fixture(scope="session")
def client(cluster: Any) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=cluster.endpoint,
        region_name="us-east-1",
        aws_access_key_id=cluster.access_key_id,
        aws_secret_access_key=cluster.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30, connect_timeout=5),
    )


@pytest.fixture(scope="session")
def streams(cluster: Any) -> Iterator[Any]:
    """Redis, read by a client that outlives its restarts."""
    connection = redis.Redis.from_url(
        cluster.environment["REDIS_URL"],
        decode_responses=True,
        retry=Retry(ConstantBackoff(0.2), 50),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
    )
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def function(client: Any) -> Iterator[str]:
    client.create_function(
        FunctionName=FUNCTION,
        Runtime=PYTHON,
        Handler="app.handler",
        Role=ROLE,
        Timeout=10,
        Code={"ZipFile": zip_of({"app.py": SOURCE})},
    )
    wait_until(lambda: client.get_function_configuration(FunctionName=FUNCTION)["State"] == "Active")
    yield FUNCTION
    client.delete_function(FunctionName=FUNCTION)
