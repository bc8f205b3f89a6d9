"""A package that was made to break whoever unpacks it fails its own invocations, and nothing else.

Packages are checked when they are created; these came past that check, as those did that are older than a rule.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from services.worker.code import cache as code_cache
from shared.dispatch.client.dispatcher import Dispatcher
from shared.domain.errors import InvalidZipFileException
from shared.domain.functions import EventInvokeConfig, InvokeTarget, VersionSpec
from shared.domain.invocations import Invocation
from shared.packages.refusals import PackageRefusedError
from tests import hostile_zips
from tests.hostile_zips import MIB
from tests.integration.worker.cluster import TestWorker
from tests.integration.worker.test_ends import Members
from tests.support import wait_until
from tests.unit.worker.specs import version

SLEEP = "import time\ndef handler(event, context):\n    time.sleep(event or 0)\n    return 'done'\n"
HOSTILE = hostile_zips.BY_RULE | hostile_zips.UNREADABLE


@pytest.fixture(scope="module")
async def members(redis_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Members]:
    members = Members(tmp_path_factory.mktemp("members"), redis_engine)
    await members.start()
    yield members
    await members.stop()


def target(spec: VersionSpec) -> InvokeTarget:
    return InvokeTarget(spec, 1, spec.function_arn, None, None, "Active", EventInvokeConfig())


def stored(workers: list[TestWorker], content: bytes) -> InvokeTarget:
    """A function with this package, whatever it is."""
    sha256 = hashlib.sha256(content).hexdigest()
    for worker in workers:
        worker.packages.stored[sha256] = content
    name = f"f-{uuid.uuid4().hex[:8]}"
    return target(version(code_sha256=sha256, version_key=f"{name}:1", function_id=name, function_name=name))


def good(members: Members) -> InvokeTarget:
    name = f"g-{uuid.uuid4().hex[:8]}"
    specs = [w.function(SLEEP, version_key=f"{name}:1", function_id=name, function_name=name) for w in members.workers]
    return target(specs[0])


async def invoke(dispatcher: Dispatcher, to: InvokeTarget, payload: bytes = b"0") -> bytes:
    result = await dispatcher.invoke(to, Invocation(str(uuid.uuid4()), payload), wait_s=10)
    assert result.function_error is None, result
    return result.payload


@pytest.mark.parametrize("what", HOSTILE)
async def test_others_in_flight_are_untouched_and_it_is_tried_once(
    members: Members, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = members.dispatcher
    victims = [good(members) for _ in range(3)]
    for victim in victims:
        await invoke(dispatcher, victim)
    bad = stored(members.workers, HOSTILE[what])
    connections = {connection for worker in members.workers for connection in worker.server.connections}
    memory = psutil.Process().memory_info().rss
    with caplog.at_level(logging.WARNING):
        under_way = [asyncio.create_task(invoke(dispatcher, victim, b"0.5")) for victim in victims]
        await asyncio.sleep(0)
        refused = dispatcher.counts.refused
        for _ in range(3):
            with pytest.raises(InvalidZipFileException, match="could not unzip the deployment package") as error:
                await invoke(dispatcher, bad)
            assert "no worker" not in error.value.message
        assert dispatcher.counts.refused - refused == 3, "one try for each invocation"
        assert await asyncio.gather(*under_way) == [b'"done"'] * 3
    assert connections <= {connection for worker in members.workers for connection in worker.server.connections}
    assert psutil.Process().memory_info().rss - memory < 50 * MIB
    # Each worker that came across it says so once, and nobody says anything else of it.
    lines = [line for record in caplog.records if bad.spec.code_sha256 in (line := record.getMessage())]
    assert 1 <= len(lines) <= len(members.workers)
    assert all(line.startswith(f"package {bad.spec.code_sha256} is refused") for line in lines)


async def test_what_is_refused_leaves_nothing_on_the_disk(members: Members, tmp_path: Path) -> None:
    worker = members.workers[0]
    cache = code_cache.CodeCache(worker.packages, tmp_path / "code", 1)
    await cache.start()
    for content in HOSTILE.values():
        with pytest.raises(PackageRefusedError):
            await cache.acquire(stored([worker], content).spec)
    await asyncio.to_thread(wait_until, lambda: not list((tmp_path / "code").iterdir()))
    await cache.close()
