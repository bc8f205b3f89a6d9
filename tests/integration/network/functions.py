"""Functions in the sandboxes of a world, and what they do with their network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.worker.pool import SandboxPool
from shared.settings import Settings
from tests.integration.sandbox.harness import Harness
from tests.support import PYTHON

CLIENT = """
import errno, http.client, os, socket, urllib.request

def connect(address, port, timeout=5):
    try:
        socket.create_connection((address, port), timeout).close()
        return "connected"
    except TimeoutError:
        return "ETIMEDOUT"
    except socket.gaierror as error:
        return "no such name"
    except OSError as error:
        return errno.errorcode[error.errno]

def get(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()
"""


@asynccontextmanager
async def sandboxes(folder: Path, **network: Any) -> AsyncIterator[Harness]:
    """Of a worker that was started in the world that the thread is in, and has ended when that does."""
    settings = Settings()
    settings.worker.prestart_runtimes = []
    settings.worker.pool_size = 1
    settings.network = settings.network.model_validate(network)
    pool = SandboxPool(settings, folder / "root")
    if not pool.supports(PYTHON):
        pytest.skip(f"{PYTHON} and its runtime client are not installed: run `make setup`")
    try:
        await pool.start()
        yield Harness(pool, folder)
    finally:
        await pool.close()


def handler(body: str) -> str:
    return CLIENT + "\ndef handler(event, context):\n" + "\n".join("    " + line for line in body.strip().splitlines()) + "\n"
