"""Waiting for the end of a process, of ours or not."""

from __future__ import annotations

import asyncio
import os


async def exit_of(pid: int) -> None:
    """Returns when the process has ended; a child is left to be collected. Raises ProcessLookupError when there is none."""
    descriptor = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def ended_once() -> None:
        if not ended.done():
            ended.set_result(None)

    try:
        loop.add_reader(descriptor, ended_once)
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
