"""How consumers of Kafka are kept running and are stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from aiokafka.errors import KafkaError

from shared.telemetry import supervision

FORESEEN = (KafkaError, *supervision.FORESEEN)


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends or `stop` is set, then cancel it and wait for it. Raises what it raised."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({working})
    if not working.cancelled():
        working.result()


async def keep_running(name: str, work: supervision.Work, stop: asyncio.Event, *, essential: bool = False) -> None:
    """As telemetry's `keep_running`; a Kafka that is away or moves partitions is no failure of the consumer."""
    await supervision.keep_running(name, work, stop, foreseen=FORESEEN, essential=essential)
