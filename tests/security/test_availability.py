"""One function at its worst: the calls of another are answered as fast as alone, and the worker does not grow.

Measured on a real cluster, in turns: alone, then beside the hostile function. The machine has other work, so the best of a few
rounds counts; a fault of the kind that is looked for here shows in each of them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests import hostile_zips
from tests.e2e.conftest import MakeFunction
from tests.security.hostile_functions import ROWS, Hostile
from tests.security.victims import WORKER_BYTES_MAX, Victim, Worker
from tests.support import PYTHON, ROLE

log = logging.getLogger(__name__)

ALONE_S, BESIDE_S = 1.5, 2.5
CALL_AGAIN_S = 0.1
ROUNDS_MAX = 5
TIMES_MAX = 2.0
NOISE_MS = 3.0
"""What a machine of two cores, with a load generator on it, may add of itself."""
COMPUTES = Hostile(
    "import time\ndef handler(event, context):\n    until = time.time() + event['seconds']\n    while time.time() < until:\n        pass\n",
    memory_mb=1_769,
    at_once=2,
)
"""Nothing but a neighbour. What it does to others is the processors' matter: on a machine that has none left, much."""


def assert_nobody_notices(victim: Victim, worker: Worker, attack: Callable[[], None], compute: Callable[[], None]) -> None:
    """attack: does harm for BESIDE_S. compute: takes processors alone for as long."""
    seen = []
    for number in range(ROUNDS_MAX):
        # The best that was measured so far asks the most of the first round; where it asks too much, the next one measures anew.
        known = number == 0 and worker.alone_ms < math.inf
        alone_ms = worker.alone_ms if known else victim.p99_ms(ALONE_S)
        worker.alone_ms = min(worker.alone_ms, alone_ms)
        worker.grown_bytes = 0
        over = threading.Event()
        threads = [
            threading.Thread(target=attack, daemon=True),
            threading.Thread(target=worker.watch, args=(over, worker.process.memory_info().rss), daemon=True),
        ]
        for thread in threads:
            thread.start()
        beside_ms = victim.p99_ms(BESIDE_S)
        threads[0].join(60)
        over.set()
        threads[1].join(10)
        assert worker.grown_bytes <= WORKER_BYTES_MAX, f"the worker grew by {worker.grown_bytes / 1024**2:.0f} MiB"
        seen.append(f"{alone_ms:.1f} -> {beside_ms:.1f} ms, +{worker.grown_bytes / 1024**2:.0f} MiB")
        log.info("round: %s", seen[-1])
        if _is_as_good(beside_ms, alone_ms):
            return
        computing = threading.Thread(target=compute, daemon=True)
        computing.start()
        neighbour_ms = victim.p99_ms(BESIDE_S)
        computing.join(60)
        seen[-1] += f", {neighbour_ms:.1f} ms beside one that computes"
        log.info("round: %s", seen[-1])
        if _is_as_good(beside_ms, neighbour_ms):
            return
    pytest.fail(f"p99 of another function, alone and beside: {'; '.join(seen)}")


def _is_as_good(beside_ms: float, wanted_ms: float) -> bool:
    return beside_ms <= max(wanted_ms * TIMES_MAX, wanted_ms + NOISE_MS)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("row", ROWS)
def test_another_functions_calls_are_answered_beside_it(
    client: Any, make_function: MakeFunction, victim: Victim, worker: Worker, row: str
) -> None:
    attack = _attack(client, make_function, ROWS[row])
    attack(0)
    assert_nobody_notices(victim, worker, attack, _attack(client, make_function, COMPUTES))


def _attack(client: Any, make_function: MakeFunction, hostile: Hostile) -> Callable[..., None]:
    """Calls it for so many seconds."""
    pause, name = threading.Event(), _make(make_function, hostile)

    def run(seconds: float, failures: list[BaseException]) -> None:
        until = time.monotonic() + seconds
        try:
            while (left := until - time.monotonic()) > 0 or seconds == 0:
                event = json.dumps({"seconds": max(0.0, round(left, 1)), "fill": "x" * hostile.event_bytes})
                client.invoke(FunctionName=name, Payload=event.encode())
                if seconds == 0:
                    return
                # A function that ends at once is called again, but this process is the victim's caller, too.
                pause.wait(CALL_AGAIN_S)
        except BaseException as error:
            failures.append(error)

    def attack(seconds: float = BESIDE_S) -> None:
        failures: list[BaseException] = []
        threads = [threading.Thread(target=run, args=(seconds, failures), daemon=True) for _ in range(hostile.at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    return attack


def _make(make_function: MakeFunction, hostile: Hostile) -> str:
    options: dict[str, object] = {"MemorySize": hostile.memory_mb, "Timeout": 20} | hostile.parameters
    if hostile.custom:
        return make_function(hostile.source, runtime="provided.al2023", file="bootstrap", Handler="any", **options)
    return make_function(hostile.source, **options)


@pytest.mark.timeout(240)
def test_another_functions_calls_are_answered_beside_packages_of_directories(
    client: Any, make_function: MakeFunction, victim: Victim, worker: Worker
) -> None:
    """A12."""
    package = hostile_zips.BY_RULE["90,000 directories in each other"]

    def attack() -> None:
        until = time.monotonic() + BESIDE_S
        while time.monotonic() < until:
            with contextlib.suppress(client.exceptions.ClientError):
                client.create_function(
                    FunctionName="of-directories", Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": package}
                )
            with contextlib.suppress(client.exceptions.ClientError):
                client.delete_function(FunctionName="of-directories")

    assert_nobody_notices(victim, worker, attack, _attack(client, make_function, COMPUTES))
