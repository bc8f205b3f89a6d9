"""How every service process runs: settings, logging, uvloop, signals, a bounded stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable

import uvloop

from shared.domain.errors import ConfigurationError
from shared.settings import Settings
from shared.telemetry.logging import configure_logging

Serve = Callable[[Settings, asyncio.Event], Awaitable[None]]
STOP_TIMEOUT_S = 15.0
STOP_BESIDES_S = 9.0
"""A worker's, when what it runs has ended."""
SETTLED_AFTER_S = 5.0
"""By then a service has built what it keeps for its life."""
GC_THRESHOLDS = (10_000, 20, 50)
"""Fewer collections than Python's own 700: each walks what an invocation needs out of the processor's caches."""

log = logging.getLogger("lambdad.service")


def run(name: str, serve: Serve, prepare: Callable[[Settings], None] | None = None) -> int:
    """Run `serve` until it returns or SIGTERM or SIGINT asks it to stop. Returns the process's exit status:
    0 after a clean stop, 1 after a failure, 2 when the operator must change something. prepare: called
    while there is one thread."""
    settings = Settings()
    if not settings.instance:
        settings = settings.model_copy(update={"instance": f"{name}-{uuid.uuid4().hex[:12]}"})
    configure_logging(name, settings.telemetry.log_level)
    try:
        if prepare is not None:
            prepare(settings)
        uvloop.run(_run_until_stopped(name, serve, settings))
    except ConfigurationError as error:
        log.error("%s", error)
        return 2
    except Exception:
        log.exception("%s failed", name)
        return 1
    return 0


async def _run_until_stopped(name: str, serve: Serve, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    stop_timeout_s = _stop_timeout_s(name, settings)

    def ask_to_stop() -> None:
        stop.set()
        # A stop that hangs must not keep the process: what is lost then is what a kill -9 may lose, which is nothing accepted.
        loop.call_later(stop_timeout_s, _give_up, name, stop_timeout_s)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask_to_stop)
    gc.set_threshold(*GC_THRESHOLDS)
    loop.call_later(SETTLED_AFTER_S, _leave_to_rest)
    log.info("%s starts as %s, pid %d", name, settings.instance, os.getpid())
    await serve(settings, stop)
    log.info("%s stopped", name)


def _leave_to_rest() -> None:
    """Take what was built at the start out of every later collection: it is never garbage."""
    gc.collect()
    gc.freeze()


def _stop_timeout_s(name: str, settings: Settings) -> float:
    """A worker waits for what it runs as long as its operator says; other services bound themselves."""
    return max(STOP_TIMEOUT_S, settings.worker.drain_timeout_s + STOP_BESIDES_S) if name == "worker" else STOP_TIMEOUT_S


def _give_up(name: str, after_s: float) -> None:
    print(f"{name} did not stop within {after_s:.0f} s; leaving", file=sys.stderr)  # noqa: T201
    os._exit(1)
