"""What has to be done for queues that nobody uses: what is too old leaves, what is due comes in, a cluster over."""

from __future__ import annotations

import asyncio
import contextlib

from shared.queues.keys import QUEUES
from shared.queues.queues import Queues

EVERY_S = 60
SWEPT = "queues:swept"
AT_ONCE = 200


async def sweep_queues(queues: Queues, stop: asyncio.Event) -> None:
    """Goes over all queues once a minute, in one of the processes that run this, until `stop` is set.

    Raises QueueUnavailableError.
    """
    while not stop.is_set():
        if await queues.command("SET", SWEPT, "1", "NX", "PX", EVERY_S * 900):
            await sweep(queues)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY_S):
                await stop.wait()


async def sweep(queues: Queues) -> None:
    """Once over all queues. Those of which nothing is left are forgotten. Raises QueueUnavailableError."""
    cursor = b"0"
    while True:
        cursor, streams = await queues.command("SSCAN", QUEUES, cursor, "COUNT", AT_ONCE)
        kept = await asyncio.gather(*(queues.keep_up(stream.decode()) for stream in streams))
        gone = [stream for stream, is_kept in zip(streams, kept, strict=True) if not is_kept]
        if gone:
            await queues.command("SREM", QUEUES, *gone)
        if cursor == b"0":
            return
