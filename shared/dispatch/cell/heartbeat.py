"""Loops that act about once a second, or at once when something happened."""

from __future__ import annotations

import asyncio


async def pause(early: asyncio.Event, pause_s: float) -> None:
    """Wait for pause_s, or less when `early` is set, then or before; it is unset afterwards."""
    try:
        async with asyncio.timeout(pause_s):
            await early.wait()
    except TimeoutError:
        pass
    early.clear()


async def set_after(first: asyncio.Event, then: asyncio.Event) -> None:
    """Set `then` once `first` is set."""
    await first.wait()
    then.set()
