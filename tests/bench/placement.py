"""Where cold starts go in a large cell: the real scripts on a real Redis that holds 10,000 workers and 1,000,000 functions.

Workers and functions are names here; everything that Redis keeps and answers is as in a cluster. One connection asks, one
question at a time, and is timed from its first byte to the answer.
"""

from __future__ import annotations

import random
import socket
import statistics
import time
import traceback
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import hiredis

from deploy.local.engines.redis import OPTIONS, server_binary
from shared.dispatch.cell.keys import Keys, epoch_field
from shared.dispatch.cell.scripts import script
from shared.redis.scripts import bulk, pack
from tests.bench.processes import Child, free_port, listens
from tests.bench.report import Outcome, Row

WORKERS = 10_000
FUNCTIONS = 1_000_000
DECISIONS = 20_000
SLOTS = 200
MEMORY_MB = (32_000, 48_000, 64_000, 96_000)
"""Of workers: what the sizes of their environments may add up to. Enough for all functions, and not for many more."""
SIZES_MB = (128, 128, 128, 256, 256, 512, 512, 1_024)
LARGE_MB = 10_240
AT_ONCE = 500
NAME = b"f" * 9
"""Where a function's number goes in what is packed ahead."""
TOGETHER = 20
"""Environments of one function, of which the note says on how many workers they are."""


def placement(workdir: Path) -> Outcome:
    outcome = Outcome(
        "placement", f"a place for a cold start, {WORKERS:,} workers, {FUNCTIONS:,} functions", "p50_ms", p99_ms_max=1
    )
    try:
        with _redis(workdir) as port:
            outcome.rows.extend(_Cell(port).measure())
    except Exception as error:
        traceback.print_exc()
        outcome.rows.append(Row("lambdad", absent=f"failed while it was measured: {error}"))
    return outcome


@contextmanager
def _redis(workdir: Path) -> Iterator[int]:
    port = free_port()
    command = [str(server_binary()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
    command += [word for option, value in OPTIONS.items() for word in (f"--{option}", str(value))]
    home = workdir / "placement-redis"
    home.mkdir(parents=True)
    child = Child(command, log=workdir / "placement-redis.log", cwd=home)
    try:
        child.wait_until(lambda: listens(port), deadline_s=10, what="Redis")
        yield port
    finally:
        child.stop()


class _Cell:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self._keys = Keys("0")
        self._chance = random.Random(1)
        for name in ("report", "acquire", "release"):
            self._call(script(name).load_command())
        info = self._call(pack("INFO", "server")).decode()
        run_id = next(line.partition(":")[2] for line in info.splitlines() if line.startswith("run_id:"))
        self._epoch = epoch_field(run_id)
        self._call(pack("HSET", self._keys.state, self._epoch, "1000", "about", "x" * 65))

    def measure(self) -> list[Row]:
        self._pipelined(self._report(number) for number in range(WORKERS))
        empty_mb = self._used_mb()
        self._start_all(range(FUNCTIONS))
        full_mb = self._used_mb()
        room = self._decisions(FUNCTIONS, lambda: self._chance.choice(SIZES_MB))
        warm = self._timed(self._acquire(self._chance.randrange(FUNCTIONS)) for _ in range(DECISIONS))
        spread = self._spread(FUNCTIONS + 2 * DECISIONS)
        more = FUNCTIONS + 3 * DECISIONS
        while not any(reply[4][1:] for reply in self._start_all(range(more, more + 10 * AT_ONCE))):
            more += 10 * AT_ONCE
        evicting = self._decisions(more + DECISIONS, lambda: self._chance.choice(SIZES_MB))
        large = self._decisions(more + 3 * DECISIONS, lambda: LARGE_MB, 2_000)
        memory = (
            f"Redis holds {empty_mb:.0f} MB with the workers alone, {full_mb:.0f} MB with an idle environment of each function"
        )
        return [
            Row("lambdad, with room", **room, note=f"{memory}; {spread}"),
            Row("lambdad, by stopping", **evicting),
            Row("lambdad, large by stopping", **large),
            Row("lambdad, warm", **warm),
        ]

    def _decisions(self, first: int, size: Callable[[], int], count: int = DECISIONS) -> dict[str, Any]:
        return self._timed(self._acquire(number, size()) for number in range(first, first + count))

    def _timed(self, commands: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
        taken, refused = array("d"), 0
        for asks, gives_back in commands:
            began = time.perf_counter()
            reply = self._call(asks)
            taken.append(time.perf_counter() - began)
            if reply[0] == b"g":
                self._call(gives_back + bulk(reply[3]))
            else:
                refused += 1
        taken = array("d", sorted(taken))
        return {
            "p50_ms": taken[len(taken) // 2] * 1000,
            "p99_ms": taken[int(len(taken) * 0.99)] * 1000,
            "count": len(taken),
            "failed": refused,
        }

    def _start_all(self, numbers: Iterable[int]) -> list[Any]:
        """An environment of each of these functions, idle afterwards; the answers of the last batch."""
        replies: list[Any] = []
        batch: list[tuple[bytes, bytes]] = []
        for number in numbers:
            batch.append(self._acquire(number, self._chance.choice(SIZES_MB)))
            if len(batch) == AT_ONCE:
                replies, batch = self._start(batch), []
        return replies

    def _start(self, batch: list[tuple[bytes, bytes]]) -> list[Any]:
        replies = self._pipelined(asks for asks, _ in batch)
        if any(reply[0] != b"g" for reply in replies):
            raise RuntimeError(f"no place: {next(reply for reply in replies if reply[0] != b'g')}")
        self._pipelined(gives_back + bulk(reply[3]) for (_, gives_back), reply in zip(batch, replies, strict=True))
        return replies

    def _spread(self, first: int) -> str:
        """On how many workers a function's environments are, and how evenly all of them are taken."""
        on: list[int] = []
        for number in range(first, first + 100):
            homes: Counter[bytes] = Counter()
            held: list[bytes] = []
            for _ in range(TOGETHER):
                asks, gives_back = self._acquire(number)
                reply = self._call(asks)
                homes[reply[3].partition(b"@")[2].partition(b"#")[0]] += 1
                held.append(gives_back + bulk(reply[3]))
            on.append(len(homes))
            self._pipelined(held)
        room = self._call(pack("HGETALL", self._keys.room))
        shares = []
        for name, known in zip(room[::2], room[1::2], strict=True):
            if not name.startswith(b"*"):
                _, free, size = known.split()
                shares.append(1 - int(free) / int(size))
        mean, most, least = statistics.mean(shares), max(shares), min(shares)
        return (
            f"{TOGETHER} environments of a function are on {statistics.mean(on):.1f} workers; {least:.0%} to {most:.0%} "
            f"of a worker's memory is taken, {mean:.0%} on average"
        )

    def _report(self, number: int) -> bytes:
        keys, worker = self._keys, f"worker-{number}"
        names = (keys.state, keys.alive_workers, keys.workers, keys.envs(worker), keys.lru)
        record = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:9100 {SLOTS} x86_64 python3.12,python3.13,nodejs22.x"
        memory_mb = MEMORY_MB[number % len(MEMORY_MB)]
        return script("report").command(names, self._epoch, 1000, worker, record, SLOTS, memory_mb, keys.prefix, 1, 1)

    def _acquire(self, number: int, memory_mb: int = 128) -> tuple[bytes, bytes]:
        """What asks for a lease of a function, and what gives it back with the lease behind it."""
        asks, gives_back = self._templates(memory_mb)
        name = b"%09d" % number
        return asks.replace(NAME, name), gives_back.replace(NAME, name)

    @cache  # noqa: B019
    def _templates(self, memory_mb: int) -> tuple[bytes, bytes]:
        keys, name = self._keys, NAME.decode()
        function, version = f"us-east-1/{name}-000-4000-8000-000000000000", f"{name}-000-4000-8000-000000000000:$LATEST:1"
        owner, now = f"{function}\n{version}", int(time.time() * 1000)
        account, reserved = keys.leases("holder", "u"), keys.leases("holder", "r")
        asks = script("acquire").command(
            (keys.state, keys.idle(version), account, reserved, keys.lru),
            *(f"rev:{function}", f"res:{function}", f"run:{function}", 1, "", 10_000_000, owner, keys.prefix),
            *(f"prov:{version}", memory_mb, self._epoch, "", now, 1),
        )
        gives_back = script("release").prefix(
            (keys.state, keys.idle(version), account, reserved), 7, f"run:{function}", owner, keys.prefix, "u", "i", now
        )
        return asks, gives_back

    def _call(self, command: bytes) -> Any:
        self._socket.sendall(command)
        return self._reply()

    def _reply(self) -> Any:
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionError("Redis closed the connection")
            self._reader.feed(data)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _pipelined(self, commands: Iterable[bytes]) -> list[Any]:
        replies: list[Any] = []
        batch: list[bytes] = []
        for command in commands:
            batch.append(command)
            if len(batch) == AT_ONCE:
                replies += self._batch(batch)
                batch = []
        return replies + self._batch(batch)

    def _batch(self, batch: list[bytes]) -> list[Any]:
        self._socket.sendall(b"".join(batch))
        return [self._reply() for _ in batch]

    def _used_mb(self) -> float:
        info = self._call(pack("INFO", "memory")).decode()
        return int(next(line for line in info.splitlines() if line.startswith("used_memory:")).partition(":")[2]) / 1024**2
