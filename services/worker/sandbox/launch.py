"""The order in which a sandbox is made, ahead of need, and given to a function.

Here: a slot (uid, cgroups, network), pipes; then in the zygote (zygote/server.py) a fork into new namespaces, in init
(zygote/init.py) the slot's network, a root of its own, /proc, /tmp, a fork of the runtime process, and there
(zygote/runtime_process.py) cgroups joined, limits, uid, capabilities, no_new_privs, seccomp. Given by `start` (launched.py):
memory limit, code and layers as read-only mounts, variables and handler.
"""

from __future__ import annotations

import asyncio

from services.worker.sandbox.launched import LaunchedSandbox
from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.slot import Slots
from services.worker.sandbox.spec import SandboxError
from services.worker.sandbox.tree_views import TreeViews
from services.worker.sandbox.work_budget import all_sandboxes
from services.worker.sandbox.zygote_process import ZygoteProcess

PREPARE_TIMEOUT_S = 20.0


class Launcher:
    """Makes sandboxes of one worker."""

    def __init__(self, slots: Slots, views: TreeViews) -> None:
        self._slots = slots
        self._views = views
        self._all_saved = all_sandboxes()

    async def launch(self, zygote: ZygoteProcess, recipe: Recipe) -> LaunchedSandbox:
        """A sandbox whose runtime process has dropped its privileges and waits. Raises SandboxError."""
        sandbox = LaunchedSandbox(await self._slots.take(), recipe, self._views, self._all_saved)
        try:
            async with asyncio.timeout(PREPARE_TIMEOUT_S):
                await sandbox.prepare(zygote)
        except BaseException as error:
            await sandbox.destroy()
            if isinstance(error, SandboxError | asyncio.CancelledError):
                raise
            raise SandboxError(f"a sandbox could not be prepared: {error or type(error).__name__}") from error
        return sandbox
