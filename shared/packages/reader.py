"""Has packages read without holding up a service: small ones in a thread, others in a process of their own.

Reading a large package is seconds of an interpreter's time. In a thread it would take turns with the event loop, and every
request of the service would wait for those turns; a process has its own, a lower priority, and bounds of its own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from shared.packages import child
from shared.packages.archive import ENTRIES_MAX, Contents
from shared.packages.refusals import UnpackError
from shared.packages.task import Task

SMALL_PACKAGE_BYTES_MAX = 64 * 1024
PROCESSES_MAX = max(1, min(2, len(os.sched_getaffinity(0)) // 2))
"""At once: half of the processors are left to requests, however many packages come."""
TIMEOUT_S = 300.0
"""For disks that take a millisecond to make a file; who waits for it gives up earlier, and finds it done later."""
_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from shared.packages.child import main; main()"


class PackageReader:
    """`check` and `unpack` raise PackageRefusedError for what is wrong with a package, UnpackError for what is wrong here."""

    def __init__(self) -> None:
        # Its threads only wait; others' threads have other work.
        self._waiting_for_processes = ThreadPoolExecutor(PROCESSES_MAX, "package")

    async def check(self, package: bytes, unzipped_bytes_max: int, entries_max: int = ENTRIES_MAX) -> Contents:
        """Reads all of it, as unpacking would."""
        return await self._read(package, Task(None, unzipped_bytes_max, entries_max))

    async def unpack(
        self, package: bytes | BinaryIO, target: Path, unzipped_bytes_max: int, entries_max: int = ENTRIES_MAX
    ) -> Contents:
        """Into the existing directory `target`, over what was unpacked there before; when it fails a part may be there.

        package: its bytes, or a file that holds them and stays open until this ends."""
        return await self._read(package, Task(str(target), unzipped_bytes_max, entries_max))

    async def _read(self, package: bytes | BinaryIO, task: Task) -> Contents:
        if isinstance(package, bytes) and len(package) <= SMALL_PACKAGE_BYTES_MAX:
            contents = await asyncio.to_thread(task.carry_out_small, package)
            if contents is not None:
                return contents
        reading = _Reading(package, task)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._waiting_for_processes, reading.run)
        except asyncio.CancelledError:
            reading.cancel()
            raise


class _Reading:
    """One package in a process."""

    def __init__(self, package: bytes | BinaryIO, task: Task) -> None:
        self._package = package
        self._task = task
        self._cancelled = False
        self._process: subprocess.Popen[bytes] | None = None

    def cancel(self) -> None:
        self._cancelled = True
        if self._process is not None:
            self._process.kill()

    def run(self) -> Contents:
        """In a thread: it only waits."""
        if self._cancelled:
            raise UnpackError("nobody waits for it any more")
        try:
            fd = _in_memory(self._package) if isinstance(self._package, bytes) else os.dup(self._package.fileno())
            self._package = b""
            try:
                argv = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_ROOT), child.argument(fd, self._task)]
                self._process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(fd,), env={}
                )
            finally:
                os.close(fd)
        except OSError as error:
            raise UnpackError(f"a package cannot be read here: {error.strerror}") from error
        with self._process as process:
            if self._cancelled:
                process.kill()
            try:
                answer, problem = process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise UnpackError(f"a package was not read within {TIMEOUT_S:.0f} s") from error
        return child.contents_of(answer, problem)


def _in_memory(package: bytes) -> int:
    """A descriptor of a file that has no name and no place on a disk."""
    fd = os.memfd_create("package", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(package)
    except BaseException:
        os.close(fd)
        raise
    return fd
