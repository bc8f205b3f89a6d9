"""A burst of cold starts is served, and what it took comes back: in the worker, and in the zygote that all share."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from services.worker.pool import SandboxPool
from services.worker.sandbox.cgroups import find_parents
from tests.integration.sandbox.harness import PYTHON, Harness, until
from tests.support import PATIENCE_S

ECHO = "def handler(event, context):\n    return event\n"
BURST = 200
POOL = 2


def _held(pool: SandboxPool) -> dict[str, int]:
    """All that grows with sandboxes and has to shrink again. The zygote's root has room for so many files only."""
    zygote = pool.stats().zygotes[PYTHON]
    root = os.statvfs(f"/proc/{zygote}/root")
    cgroups = sum(len(list(Path(parent).glob(f"lambdad-{os.getpid()}-*/*/"))) for parent, _ in find_parents()[0].values())
    return {
        "root bytes": (root.f_blocks - root.f_bfree) * root.f_frsize,
        "root files": root.f_files - root.f_ffree,
        "zygote mounts": len(Path(f"/proc/{zygote}/mountinfo").read_text().splitlines()),
        "zygote descriptors": psutil.Process(zygote).num_fds(),
        "zygote children": len(psutil.Process(zygote).children()),
        "descriptors": psutil.Process().num_fds(),
        "cgroups": cgroups,
        "uids in use": -pool.stats().uids_free,
    }


async def test_a_burst_of_sandboxes_leaves_nothing_in_the_worker_or_the_zygote(harness: Harness) -> None:
    pool = harness.pool

    def settled() -> bool:
        return pool.stats().ready.get(PYTHON) == POOL

    async with harness.running(ECHO) as function:
        assert await function.result(1) == 1
    await until(settled, "the pool is full")
    before = _held(pool)

    async with asyncio.timeout(60):
        sandboxes = await asyncio.gather(*(pool.take(PYTHON) for _ in range(BURST)))
        assert len({sandbox.uid for sandbox in sandboxes}) == BURST
        await asyncio.gather(*(sandbox.destroy() for sandbox in sandboxes))

    await until(settled, "the pool is full again")
    more: dict[str, int] = {}

    def returned() -> bool:
        more.clear()
        more.update((what, now - before[what]) for what, now in _held(pool).items() if now > before[what])
        return not more

    try:
        async with asyncio.timeout(PATIENCE_S):
            while not returned():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"still held: {more}")
    async with harness.running(ECHO) as function:
        assert await function.result(2) == 2


async def test_a_sandboxs_accounts_are_its_own_and_have_no_other_name(harness: Harness) -> None:
    source = (
        "import os, pwd, grp\n"
        "def handler(event, context):\n"
        "    return [pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name, len(pwd.getpwall()),\n"
        "            os.stat('/etc/passwd').st_nlink, os.stat('/etc/group').st_nlink]\n"
    )
    async with harness.running(source) as one, harness.running(source) as other:
        for function in (one, other):
            assert await function.result() == ["sbx_user1051", "sbx_user1051", 2, 0, 0]
