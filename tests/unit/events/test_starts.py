"""Which batches of a mapping run: begun, waiting for the next attempt, held."""

from __future__ import annotations

import asyncio

from services.poller.mapping.starts import Starts
from tests.support import PATIENCE_S


async def settled() -> None:
    """Everything that can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_batch_that_waits_for_its_next_attempt_does_not_run_and_goes_on_only_when_batches_may() -> None:
    starts = Starts(None)
    starts.allow()
    await starts.begin()
    idle = asyncio.create_task(starts.idle())
    await settled()
    assert not idle.done()
    starts.forbid()
    pause = asyncio.create_task(starts.pause(0))
    await settled()
    assert idle.done()
    assert not pause.done()
    starts.allow()
    await pause
    again = asyncio.create_task(starts.idle())
    await settled()
    assert not again.done()
    starts.end()
    await again


async def test_a_batch_that_is_cancelled_while_it_waits_is_counted_out_once() -> None:
    starts = Starts(1)
    starts.allow()

    async def batch() -> None:
        await starts.begin()
        try:
            await starts.pause(60)
        finally:
            starts.end()

    for _ in range(2):
        running = asyncio.create_task(batch())
        await settled()
        running.cancel()
        await asyncio.wait({running})
        await asyncio.wait_for(starts.idle(), PATIENCE_S)
