"""The order in which a sandbox is made, ahead of need, and given to a function.

Here: uid, cgroups, pipes; then in the zygote (zygote/server.py) a fork into new namespaces, in init (zygote/init.py) /proc,
/tmp, accounts, read-only root, loopback, a fork of the runtime process, and there (zygote/runtime_process.py) cgroups joined,
limits, uid, capabilities, no_new_privs, seccomp. Given by `start` (launched.py): memory limit, code and layers as read-only
mounts, variables and handler.
"""

from __future__ import annotations

import asyncio
import os

from services.worker.runtimes.contract import Recipe
from services.worker.sandbox.cgroups import CgroupTree
from services.worker.sandbox.launched import LaunchedSandbox
from services.worker.sandbox.spec import SandboxError
from services.worker.sandbox.uids import UidPool
from services.worker.sandbox.zygote_process import ZygoteProcess

PREPARE_TIMEOUT_S = 20.0


class Launcher:
    """Makes sandboxes of one worker; shares out its uids and cgroups."""

    def __init__(self, cgroups: CgroupTree, uids: UidPool) -> None:
        self._cgroups = cgroups
        self._uids = uids
        self._null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._made = 0

    def close(self) -> None:
        os.close(self._null_fd)

    async def launch(self, zygote: ZygoteProcess, recipe: Recipe) -> LaunchedSandbox:
        """A sandbox whose runtime process has dropped its privileges and waits. Raises SandboxError."""
        uid = self._uids.take()
        self._made += 1
        try:
            cgroup = self._cgroups.create(f"s{self._made}")
        except OSError as error:
            self._uids.give_back(uid)
            raise SandboxError(f"a cgroup cannot be made: {error}") from error
        sandbox = LaunchedSandbox(uid, recipe, cgroup, self._uids)
        try:
            async with asyncio.timeout(PREPARE_TIMEOUT_S):
                await sandbox.prepare(zygote, self._null_fd)
        except BaseException as error:
            await sandbox.destroy()
            if isinstance(error, SandboxError | asyncio.CancelledError):
                raise
            raise SandboxError(f"a sandbox could not be prepared: {error or type(error).__name__}") from error
        return sandbox
