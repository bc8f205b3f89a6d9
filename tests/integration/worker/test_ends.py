"""How a run ends on the wire, and what a caller makes of it: what has run is never run again, and the worker alone says what
became of its environment."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from services.scheduler.main import serve as serve_scheduler
from services.worker import teardown
from services.worker.callers import connection as caller_connection
from shared.dispatch.cell.announce import Announcer
from shared.dispatch.cell.deployment import Deployment
from shared.dispatch.cell.membership import WorkerMembership
from shared.dispatch.cell.retirement import Retirement
from shared.dispatch.client.dispatcher import Dispatcher
from shared.dispatch.wire import connection as callers_end
from shared.dispatch.wire.frames import encode_frame
from shared.dispatch.wire.messages import Broken, FrameType
from shared.domain.errors import ResponseLostError
from shared.domain.functions import EventInvokeConfig, InvokeTarget, VersionSpec, version_key
from shared.domain.invocations import Invocation
from shared.settings import DispatchSettings, Settings
from tests.integration.worker.cluster import SECRET, Answer, Caller, TestWorker, header_for, until
from tests.integration.worker.process_sandbox import ProcessPool
from tests.support import PATIENCE_S

LARGE = "def handler(event, context):\n    return 'a' * event\n"
COUNTED = """
def handler(event, context):
    with open(event["runs"], "a") as runs:
        runs.write("ran\\n")
    return "a" * event["bytes"]
"""


class Members:
    """Two workers that are part of a cluster, its scheduler and a caller."""

    def __init__(self, root: Path, redis_url: str) -> None:
        self.settings = Settings(
            data_dir=root,
            instance="frontend-ends",
            cluster_secret=SecretStr(SECRET),
            redis_url=redis_url,
            dispatch=DispatchSettings(cell=f"t{uuid.uuid4().hex[:8]}", heartbeat_s=0.1),
        )
        self.workers = [TestWorker(root / name, ProcessPool(), environments_max=4) for name in ("w1", "w2")]
        self.memberships: list[WorkerMembership] = []
        self.deployed: list[Deployment] = []
        self.dispatcher = Dispatcher(self.settings, role="frontend")
        self._stop = asyncio.Event()

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(serve_scheduler(self.settings, self._stop))]
        for number, worker in enumerate(self.workers):
            await worker.start()
            fleet, address = worker.fleet, f"127.0.0.1:{worker.server.port}"
            membership = WorkerMembership(
                self.settings,
                f"w{number}",
                address,
                4,
                None,
                fleet.inventory,
                on_retired=fleet.retire,
                on_deployed=self.deployed.append,
            )
            self.memberships.append(membership)
            self._tasks.append(asyncio.create_task(membership.run(self._stop)))
        await self.dispatcher.open()
        await until(lambda: all(m.problem is None for m in self.memberships) and self.dispatcher.problem() is None)

    async def stop(self) -> None:
        await self.dispatcher.close()
        self._stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._tasks)
            for membership, worker in zip(self.memberships, self.workers, strict=True):
                await membership.leave()
                await worker.stop()

    def target(self, spec: VersionSpec) -> InvokeTarget:
        for worker in self.workers[1:]:
            worker.packages.stored = self.workers[0].packages.stored
        return InvokeTarget(spec, 1, spec.function_arn, None, None, "Active", EventInvokeConfig())


@pytest.fixture
async def members(redis_engine: str, tmp_path: Path) -> AsyncIterator[Members]:
    members = Members(tmp_path, redis_engine)
    await members.start()
    yield members
    await members.stop()


async def test_workers_hear_of_versions_that_can_be_invoked(members: Members, redis_engine: str) -> None:
    deployment = Deployment("python3.12", "x86_64", 128, "0" * 64, 100, (), workers=2)
    async with Redis.from_url(redis_engine) as redis:
        await Announcer(redis, members.settings.dispatch).deployed(deployment)
    await until(lambda: members.deployed == [deployment] * 2)


def hold_credit_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network does, or a client, that takes nothing for a while."""
    monkeypatch.setattr(callers_end, "encode_credit", lambda stream, granted: b"")


async def test_what_has_run_is_not_run_again_when_the_worker_ends_before_its_response_has_left(
    members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_credit_back(monkeypatch)
    runs = tmp_path / "runs"
    to = members.target(members.workers[0].function(COUNTED))
    event = msgspec.json.encode({"runs": str(runs), "bytes": 3_000_000})
    call = asyncio.create_task(members.dispatcher.invoke(to, Invocation("r", event), wait_s=5))
    await until(lambda: runs.exists() and not any(e.busy for w in members.workers for e in w.fleet.inventory()))
    [worker] = [worker for worker in members.workers if worker.server.running]
    await worker.server.drain(0.05)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ResponseLostError):
            await call
    assert runs.read_text() == "ran\n"


async def test_a_cold_call_that_is_given_up_during_its_response_leaves_its_environment_to_the_next(
    members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patches:
        hold_credit_back(patches)
        runs = tmp_path / "runs"
        to = members.target(members.workers[0].function(COUNTED))
        event = msgspec.json.encode({"runs": str(runs), "bytes": 3_000_000})
        call = asyncio.create_task(members.dispatcher.invoke(to, Invocation("r", event), wait_s=5))
        await until(lambda: runs.exists() and not any(e.busy for w in members.workers for e in w.fleet.inventory()))
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await until(lambda: not any(worker.server.running for worker in members.workers))
    event = msgspec.json.encode({"runs": str(runs), "bytes": 1})
    async with asyncio.timeout(PATIENCE_S):
        # The lease comes back with the worker's answer to CANCEL; until then another environment would be started.
        await until(lambda: members.dispatcher.unsettled == 0)
        result = await members.dispatcher.invoke(to, Invocation("r2", event), wait_s=5)
    assert result.init_ms is None
    assert sum(len(worker.fleet) for worker in members.workers) == 1


async def test_a_response_given_up_half_way_is_broken_and_not_refused(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(LARGE)
    caller.give_credit = False
    stream, large = caller.send(header_for(spec, "e-1", b"5000000", cold=True), b"5000000")
    await until(lambda: worker.fleet.inventory() and not worker.fleet.inventory()[0].busy)
    caller.cancel(stream)
    async with asyncio.timeout(PATIENCE_S):
        end = await large
    assert isinstance(end, Broken)
    assert end.reusable
    assert (await caller.answer(spec, "e-1", 3)).json() == "aaa"


async def test_a_response_that_nobody_takes_ends_alone(
    worker: TestWorker, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = worker.function(LARGE)
    await caller.answer(spec, "e-1", 1, cold=True)
    monkeypatch.setattr(caller_connection, "STALL_TIMEOUT_S", 0.2)
    caller.give_credit = False
    _, large = caller.send(header_for(spec, "e-1", b"5000000", cold=False), b"5000000")
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await large, Broken)
    assert (await caller.answer(spec, "e-1", 3)).json() == "aaa"


async def test_a_run_that_fails_to_begin_frees_its_environment_at_once(
    worker: TestWorker, caller: Caller, pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = worker.function(LARGE)
    await caller.answer(spec, "e-1", 1, cold=True)

    def cannot(*_: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(pool.made[0], "invoke", cannot)
    payload = b"1"
    _, end = caller.send(header_for(spec, "e-1", payload, cold=False), payload)
    async with asyncio.timeout(PATIENCE_S):
        ended = await end
    assert isinstance(ended, Answer | Broken)
    await until(lambda: worker.server.running == 0 and len(worker.fleet) == 0)
    assert (await caller.answer(spec, "e-2", 3, cold=True)).json() == "aaa"


async def test_a_trace_that_would_not_fit_its_field_is_no_invocation(worker: TestWorker, caller: Caller) -> None:
    spec = worker.function(LARGE)
    await caller.answer(spec, "e-1", 1, cold=True)
    rogue = await Caller.connect(worker.server.port, instance="rogue")
    text = msgspec.msgpack.encode(header_for(spec, "e-1", b"1", cold=False, trace="x" * 70_000))
    rogue.writer.write(encode_frame(FrameType.INVOKE, 1, len(text).to_bytes(4, "big") + text + b"1"))
    async with asyncio.timeout(PATIENCE_S):
        await rogue._reading
    assert not worker.fleet.inventory()[0].busy
    assert (await caller.answer(spec, "e-1", 3)).json() == "aaa"


async def test_environments_of_a_version_that_is_gone_end_at_once_and_busy_ones_after_their_run(
    members: Members, tmp_path: Path, redis_engine: str
) -> None:
    source = "import os, time\ndef handler(event, context):\n    while not os.path.exists(event):\n        time.sleep(0.01)\n"
    keys = {name: version_key(name, "$LATEST", 3) for name in ("idle", "busy", "other")}
    to = {
        name: members.target(members.workers[0].function(source, version_key=key, function_id=name))
        for name, key in keys.items()
    }
    there = tmp_path / "there"
    there.touch()
    for name in ("idle", "other"):
        await members.dispatcher.invoke(to[name], Invocation("r", msgspec.json.encode(str(there))), wait_s=5)
    later = tmp_path / "later"
    call = asyncio.create_task(
        members.dispatcher.invoke(to["busy"], Invocation("r", msgspec.json.encode(str(later))), wait_s=5)
    )

    def running() -> set[str]:
        return {each.function.rpartition("/")[2] for worker in members.workers for each in worker.fleet.inventory()}

    await until(lambda: running() == {"idle", "busy", "other"})
    async with aclosing(Redis.from_url(redis_engine)) as redis:
        announcer = Announcer(redis, members.settings.dispatch)
        await announcer.retired(Retirement("other", "$LATEST", 3))
        await announcer.retired(Retirement("other", "1"))
        await announcer.retired(Retirement("idle"))
        await announcer.retired(Retirement("busy", "$LATEST", 4))
    await until(lambda: running() == {"busy", "other"})
    later.touch()
    assert (await call).function_error is None
    await until(lambda: running() == {"other"})
    # A cold start that was on its way when its version went: it is run, and nothing is kept of it.
    await members.dispatcher.invoke(to["idle"], Invocation("r", msgspec.json.encode(str(there))), wait_s=5)
    await until(lambda: running() == {"other"})


async def test_environments_that_are_stopped_together_end_one_after_another(
    worker: TestWorker, caller: Caller, pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teardown, "PAUSE_S", 60.0)
    spec = worker.function("def handler(event, context):\n    return event\n")
    for name in ("e-1", "e-2", "e-3"):
        await caller.answer(spec, name, cold=True)
    worker.fleet.stop(["e-1", "e-2", "e-3"])
    assert not worker.fleet.inventory(), "none of them is used any more"
    await until(lambda: worker.gone)
    assert [sandbox.destroyed for sandbox in pool.made] == [True, False, False]
    await worker.fleet.close(5.0)
    assert all(sandbox.destroyed for sandbox in pool.made)
