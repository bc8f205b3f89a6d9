"""The worker as a service: it starts, serves, says how it is, and is gone when told to be."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.worker.main import serve
from services.worker.sandbox.network.addresses import ENDPOINT_URL
from shared.dispatch.wire.messages import RefusalReason
from shared.domain.errors import ConfigurationError
from shared.registry.packages import PackageStore
from shared.settings import FunctionSettings, Settings, TelemetrySettings, WorkerSettings
from tests.integration.worker.cluster import SECRET, Answer, Caller, header_for
from tests.support import PATIENCE_S, PYTHON, zip_of
from tests.unit.worker.specs import version

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def worker_settings(redis_engine: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        instance="worker-main",
        cluster_secret=SecretStr(SECRET),
        redis_url=redis_engine,
        kafka_bootstrap_servers="127.0.0.1:1",
        worker=WorkerSettings(
            port=free_port(), pool_size=1, pool_size_max=1, prestart_runtimes=[PYTHON], drain_timeout_s=PATIENCE_S
        ),
        telemetry=TelemetrySettings(port=free_port()),
    )


def get(settings: Settings, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.telemetry.port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


async def connected(settings: Settings) -> Caller:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await Caller.connect(settings.worker.port)
            except OSError:
                await asyncio.sleep(0.05)


async def test_it_serves_without_kafka_finishes_what_runs_and_leaves_nothing(worker_settings: Settings) -> None:
    package = zip_of(
        {"app.py": "import time\ndef handler(event, context):\n    print('hi')\n    time.sleep(event)\n    return 'slept'\n"}
    )
    spec = version(code_sha256=await PackageStore(worker_settings).put(package), runtime=PYTHON, timeout_s=60)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(worker_settings, stop))
    caller = await connected(worker_settings)
    assert (await caller.answer(spec, "m-1", 0, cold=True)).json() == "slept"

    assert (await asyncio.to_thread(get, worker_settings, "/health"))[0] == 200
    status, body = await asyncio.to_thread(get, worker_settings, "/ready")
    assert status == 503, "there is no scheduler here that would open the leases"
    assert "cluster" in json.loads(body)["problems"]
    _, metrics = await asyncio.to_thread(get, worker_settings, "/metrics")
    assert b"lambdad_worker_environments 1.0" in metrics

    _, running = caller.send(header_for(spec, "m-1", b"1", cold=False), b"1")
    # Frames are read in their order: the other one runs by then.
    assert (await caller.refusal(spec, "m-1")).reason is RefusalReason.BUSY
    stop.set()
    async with asyncio.timeout(PATIENCE_S):
        answer = await running
        await serving
    assert isinstance(answer, Answer)
    assert answer.json() == "slept"
    assert not list((worker_settings.data_dir / "worker-main/code").glob("new-*"))
    await caller.close()


@pytest.mark.parametrize("told", [True, False])
async def test_functions_are_told_the_endpoint_unless_the_setting_says_not_to(worker_settings: Settings, told: bool) -> None:
    settings = worker_settings.model_copy(update={"functions": FunctionSettings(endpoint_variable=told)})
    package = zip_of({"app.py": "import os\ndef handler(event, context):\n    return os.environ.get('AWS_ENDPOINT_URL')\n"})
    spec = version(code_sha256=await PackageStore(settings).put(package), runtime=PYTHON, timeout_s=60)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(settings, stop))
    caller = await connected(settings)
    assert (await caller.answer(spec, "m-2", 0, cold=True)).json() == (ENDPOINT_URL if told else None)
    await caller.close()
    stop.set()
    async with asyncio.timeout(PATIENCE_S):
        await serving


async def test_a_second_worker_of_the_same_name_is_told_so(worker_settings: Settings) -> None:
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(worker_settings, stop))
    await (await connected(worker_settings)).close()
    with pytest.raises(ConfigurationError, match="worker-main is running"):
        await serve(worker_settings, asyncio.Event())
    stop.set()
    async with asyncio.timeout(PATIENCE_S):
        await serving


async def test_a_port_that_is_taken_is_the_operators_to_mend(worker_settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", worker_settings.worker.port))
        taken.listen()
        with pytest.raises(ConfigurationError, match="cannot listen"):
            async with asyncio.timeout(PATIENCE_S):
                await serve(worker_settings, asyncio.Event())


async def test_an_empty_cluster_secret_starts_no_worker(worker_settings: Settings) -> None:
    settings = worker_settings.model_copy(update={"cluster_secret": SecretStr("")})
    with pytest.raises(ConfigurationError, match="CLUSTER_SECRET"):
        async with asyncio.timeout(PATIENCE_S):
            await serve(settings, asyncio.Event())
