"""The worker as callers use it: a real scheduler and Redis, leases, and the one dispatch client."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest
from pydantic import SecretStr

from services.scheduler.main import serve as serve_scheduler
from services.worker.main import serve as serve_worker
from shared.dispatch.client.dispatcher import Dispatcher
from shared.domain.functions import EventInvokeConfig, InvokeTarget, VersionSpec
from shared.domain.invocations import Invocation
from shared.registry.packages import PackageStore
from shared.settings import DispatchSettings, Settings, WorkerSettings
from tests.integration.worker.cluster import SECRET
from tests.support import PATIENCE_S, PYTHON, zip_of
from tests.unit.worker.specs import version

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")

SOURCE = """
import os, time
count = 0
def handler(event, context):
    global count
    count += 1
    time.sleep(event or 0)
    return [count, os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]]
"""


@pytest.fixture(scope="module")
async def dispatcher(redis_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dispatcher]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        instance="worker-path",
        cluster_secret=SecretStr(SECRET),
        redis_url=redis_engine,
        kafka_bootstrap_servers="127.0.0.1:1",
        dispatch=DispatchSettings(cell=f"t{uuid.uuid4().hex[:8]}"),
        worker=WorkerSettings(environments_max=3, pool_size=1, pool_size_max=1, prestart_runtimes=[PYTHON]),
    )
    stop = asyncio.Event()
    services = [
        asyncio.create_task(serve_scheduler(settings.model_copy(update={"instance": "scheduler-path"}), stop)),
        asyncio.create_task(serve_worker(settings, stop)),
    ]
    dispatcher = Dispatcher(settings.model_copy(update={"instance": "frontend-path"}), role="frontend")
    await dispatcher.open()
    dispatcher.packages = PackageStore(settings)  # type: ignore[attr-defined]
    yield dispatcher
    await dispatcher.close()
    stop.set()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*services)


async def target(dispatcher: Dispatcher, name: str) -> InvokeTarget:
    sha256 = await dispatcher.packages.put(zip_of({"app.py": SOURCE}))  # type: ignore[attr-defined]
    spec: VersionSpec = version(
        code_sha256=sha256, runtime=PYTHON, version_key=f"{name}:1", function_id=name, function_name=name, timeout_s=120
    )
    return InvokeTarget(spec, 1, spec.function_arn, None, None, "Active", EventInvokeConfig())


async def invoke(dispatcher: Dispatcher, to: InvokeTarget, payload: bytes = b"0") -> list[object]:
    result = await dispatcher.invoke(to, Invocation(str(uuid.uuid4()), payload), wait_s=15)
    assert result.function_error is None, result
    answer: list[object] = msgspec.json.decode(result.payload)
    return answer


async def until_warm(dispatcher: Dispatcher, to: InvokeTarget) -> None:
    """A lease that a worker's first report overtakes is not found again; then the next environment is."""
    for _ in range(5):
        if (await invoke(dispatcher, to))[0] == 2:
            return
    raise AssertionError("no environment was used twice")


async def test_leases_find_warm_environments_and_evict_idle_ones_of_other_functions(dispatcher: Dispatcher) -> None:
    one = await target(dispatcher, "one")
    await until_warm(dispatcher, one)
    side_by_side = await asyncio.gather(*(invoke(dispatcher, one, b"0.5") for _ in range(3)))
    assert len({stream for _, stream in side_by_side}) >= 2

    # The places are taken by idle environments of `one`; another function takes the place of the oldest.
    other = await target(dispatcher, "other")
    await until_warm(dispatcher, other)


async def test_a_caller_that_gives_up_gives_its_environment_back(dispatcher: Dispatcher) -> None:
    to = await target(dispatcher, "slow")
    await until_warm(dispatcher, to)
    given_up = [asyncio.create_task(invoke(dispatcher, to, b"90")) for _ in range(3)]
    await asyncio.sleep(0.5)
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    # Had they gone on, there would be no place before their minute and a half is over.
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(invoke(dispatcher, to) for _ in range(3)))
