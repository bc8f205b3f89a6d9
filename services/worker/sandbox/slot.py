"""What a sandbox occupies on its host, from before it is made until nothing of it is left: a uid, a cgroup, a network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from services.worker.sandbox.cgroups import Cgroup, CgroupTree
from services.worker.sandbox.memory_watch import TMP_INODE_BYTES, MemoryWatch
from services.worker.sandbox.mounts import TMP_INODES_PER_MB
from services.worker.sandbox.network.contract import NetworkProvider, NetworkSlot
from services.worker.sandbox.spec import SandboxError
from services.worker.sandbox.uids import Uids

MIB = 1024 * 1024
_REMOVE_RETRY_S = (0.0, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.0)


class Slot:
    """Methods that raise OSError say what the kernel said."""

    def __init__(self, uid: int, cgroup: Cgroup, network: NetworkSlot, uids: Uids) -> None:
        self.uid = uid
        self.owner = uids.owner(uid)
        self.cgroup = cgroup
        self.network = network
        self._uids = uids
        self._memory_kills = 0
        self._memory_exceeded = False
        self._memory_bytes = 0
        self._shared_bytes = 0
        self._peak_bytes = 0
        self._watch: MemoryWatch | None = None

    def take_tmp(self, tmp_fd: int) -> None:
        """The sandbox's /tmp, so that what is in it can be told from memory; the descriptor is the slot's from here on."""
        self._watch = MemoryWatch(self.cgroup, tmp_fd)

    def set_memory(self, memory_mb: int, tmp_mb: int, shared_bytes: int) -> None:
        """Before anything of the function's runs. shared_bytes: of the memory, what its runtime has and is charged to others
        (resident.py). Raises OSError."""
        self._shared_bytes = min(shared_bytes, memory_mb * MIB // 2)
        self._memory_bytes = memory_mb * MIB - self._shared_bytes
        self.cgroup.set_memory(self._memory_bytes, tmp_mb * (MIB + TMP_INODES_PER_MB * TMP_INODE_BYTES))

    def watch_memory(self, kill: Callable[[], None], on_lost: Callable[[OSError], None]) -> None:
        """From now on: kill when it has more than it may; on_lost when that cannot be seen any more. Raises OSError."""

        def exceeded() -> None:
            self._memory_exceeded = True
            kill()

        assert self._watch is not None
        self._watch.start(self._memory_bytes, exceeded, on_lost)

    def begin_runtime(self) -> None:
        """A fresh runtime process: its memory is its own."""
        with contextlib.suppress(OSError):
            self.cgroup.reset_peak()
            if self._watch is not None:
                self._watch.begin()
        self._peak_bytes = 0

    def peak_bytes(self) -> int:
        """Peak memory use since `begin_runtime`, with what the runtime shares, and without what was in /tmp as far as it was
        seen; the last one known when it cannot be read."""
        with contextlib.suppress(OSError):
            peak = self.cgroup.peak_bytes()
            if self._watch is not None:
                self._watch.review()
                if self._watch.tmp_peak_bytes:
                    now = self.cgroup.used_bytes() - self._watch.tmp_bytes()
                    peak = max(peak - self._watch.tmp_peak_bytes, now)
            self._peak_bytes = max(self._peak_bytes, min(peak, self._memory_bytes or peak))
        return self._peak_bytes + self._shared_bytes

    def memory_killed(self) -> bool:
        """Whether the kernel has killed a process here for its memory since the last call."""
        before, exceeded = self._memory_kills, self._memory_exceeded
        self._memory_exceeded = False
        with contextlib.suppress(OSError):
            self._memory_kills = self.cgroup.out_of_memory_kills()
        return exceeded or self._memory_kills > before

    def end_watch(self) -> None:
        """And let go of /tmp."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    async def give_back(self) -> None:
        """After its last process was killed. Raises SandboxError; uid and network then stay out of use, for something may still
        run with them."""
        try:
            await self._remove_cgroup()
        except BaseException:
            self.network.lose()
            raise
        self._uids.give_back(self.uid)
        self.network.give_back()

    async def _remove_cgroup(self) -> None:
        for delay in _REMOVE_RETRY_S:
            await asyncio.sleep(delay)
            try:
                if self.cgroup.remove():
                    return
            except OSError as error:
                raise SandboxError(f"a cgroup cannot be removed: {error}") from error
        raise SandboxError(f"a cgroup of the sandbox of uid {self.uid} still holds processes")


class Slots:
    """Shares out what one worker's sandboxes occupy."""

    def __init__(self, cgroups: CgroupTree, uids: Uids, network: NetworkProvider) -> None:
        self._cgroups = cgroups
        self._uids = uids
        self._network = network
        self._taken = 0

    async def take(self) -> Slot:
        """Raises SandboxError."""
        network = await self._network.take()
        try:
            uid = self._uids.take()
        except BaseException:
            network.give_back()
            raise
        self._taken += 1
        try:
            cgroup = self._cgroups.create(f"s{self._taken}")
        except OSError as error:
            self._uids.give_back(uid)
            network.give_back()
            raise SandboxError(f"a cgroup cannot be made: {error}") from error
        return Slot(uid, cgroup, network, self._uids)
