"""The pid 1 of a sandbox that was idle: what it still does, and what it takes."""

from __future__ import annotations

import asyncio
import os
import signal

import psutil
import pytest

from services.worker.sandbox import mounts
from services.worker.sandbox.spec import RuntimeExit
from tests.integration.sandbox.harness import Harness, Running, needs_root, processes_of, until
from tests.support import NODE, PYTHON

pytestmark = [needs_root, pytest.mark.asyncio(loop_scope="session")]

INIT_BYTES_MAX = 64 * 1024
HANDLER = """
import os, signal
def handler(event, context):
    if event == "end":
        os._exit(9)
    if event == "child" and os.fork() == 0:
        os.setsid()
        signal.pause()
    if event == "orphans":
        for _ in range(100):
            if os.fork() == 0:
                if os.fork() == 0:
                    os._exit(0)
                os._exit(0)
            os.wait()
        return "made"
    return [open("/proc/self/oom_score_adj").read(), os.getpid()]
"""


def init_of(function: Running) -> psutil.Process:
    """As the host sees it: in the function's pid namespace, and root."""
    namespace = os.readlink(f"/proc/{processes_of(function.sandbox.uid)[0].pid}/ns/pid")
    for process in psutil.process_iter():
        try:
            if process.uids().real == 0 and os.readlink(f"/proc/{process.pid}/ns/pid") == namespace:
                return process
        except (psutil.Error, OSError):
            continue
    raise AssertionError("no init")


def put_to_sleep(function: Running) -> None:
    """As the freezer does what was not used for some seconds, and the next event."""
    function.sandbox.freeze()
    function.sandbox.rest()
    function.sandbox.thaw()


def executable(process: psutil.Process) -> str:
    return os.readlink(f"/proc/{process.pid}/exe")


@pytest.mark.parametrize("runtime", [PYTHON, pytest.param(NODE, marks=pytest.mark.needs(NODE))])
async def test_it_takes_next_to_nothing(harness: Harness, runtime: str) -> None:
    source = HANDLER if runtime == PYTHON else "exports.handler = async () => 1;\n"
    async with harness.running(source, runtime=runtime) as function:
        await function.result()
        init = init_of(function)
        put_to_sleep(function)
        await until(lambda: executable(init).endswith(mounts.SLEEPER), "it has become the program that only reaps")
        memory = init.memory_full_info()
        assert memory.uss + memory.pss <= INIT_BYTES_MAX


async def test_it_tells_how_runtimes_end_also_of_those_that_came_later(harness: Harness) -> None:
    async with harness.running(HANDLER) as function:
        put_to_sleep(function)
        for _ in range(2):
            end = await function.invoke("end")
            assert isinstance(end, RuntimeExit)
            assert end.exit_status == 9
            await function.restart()
        pids = [child.pid for child in processes_of(function.sandbox.uid)]
        os.kill(pids[0], signal.SIGSEGV)
        await until(lambda: not function.sandbox.alive, "its end is known")
        await function.restart()
        assert await function.result("x")


async def test_a_later_runtime_is_marked_as_the_first_was(harness: Harness) -> None:
    async with harness.running(HANDLER) as function:
        first, _ = await function.result()
        put_to_sleep(function)
        await function.invoke("end")
        await function.restart()
        assert (await function.result())[0] == first == "500\n"


async def test_orphans_are_reaped_and_told_to_nobody(harness: Harness) -> None:
    async with harness.running(HANDLER) as function:
        put_to_sleep(function)
        await function.result("orphans")
        await until(lambda: len(processes_of(function.sandbox.uid)) == 1, "the orphans are reaped")
        assert (await function.result())[1] > 1
        assert function.sandbox.alive


async def test_everything_in_the_sandbox_is_killed_with_a_runtime_that_is_killed(harness: Harness) -> None:
    async with harness.running(HANDLER) as function:
        put_to_sleep(function)
        await function.result("child")
        assert len(processes_of(function.sandbox.uid)) == 2
        await function.sandbox.kill_runtime()
        assert not processes_of(function.sandbox.uid)
        await function.restart()
        assert await function.result("x")


async def test_many_kills_and_restarts_at_once_leave_no_process(harness: Harness) -> None:
    async def churn() -> None:
        async with harness.running(HANDLER) as function:
            for turn in range(5):
                if turn == 2:
                    put_to_sleep(function)
                await function.sandbox.kill_runtime()
                await function.restart()
            assert await function.result("x")

    before = len(psutil.Process().children(recursive=True))
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(churn())
    await until(lambda: len(psutil.Process().children(recursive=True)) <= before + 8, "only ready sandboxes are left")
