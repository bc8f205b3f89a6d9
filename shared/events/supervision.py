"""How long-running consumers are kept running and are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from aiokafka.errors import KafkaError

from shared.domain.errors import LambdadError

log = logging.getLogger("lambdad.events")

RESTART_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
HEALTHY_AFTER_S = 30.0


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


async def keep_running(name: str, work: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Call `work` again, with a growing pause, whenever it ends or fails before `stop` is set.

    An engine that restarts ends a consumer now and then; that is this function's daily work and not an error of the service.
    """
    failures = 0
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        started = loop.time()
        try:
            await work()
        except (KafkaError, LambdadError, OSError, TimeoutError) as error:
            log.warning("%s starts again: %r", name, error)
        except Exception:
            log.exception("%s starts again", name)
        if stop.is_set():
            return
        failures = 0 if loop.time() - started > HEALTHY_AFTER_S else failures + 1
        pause = RESTART_BACKOFF_S[min(failures, len(RESTART_BACKOFF_S)) - 1]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
