"""What is done to a cluster, by name: each for a while, and how it is undone. All of it stays within this process's own namespaces."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.place import Place
from tests.conftest import Cluster
from tests.support import wait_until

SERVICES = ("frontend", "scheduler", "worker-1", "poller", "router")
ENGINES = ("redis", "kafka", "postgres")
LINKS = (
    ("frontend", "worker-1"), ("frontend", "kafka"), ("frontend", "redis"), ("frontend", "postgres"),
    ("poller", "worker-1"), ("poller", "kafka"), ("poller", "redis"), ("poller", "postgres"),
    ("router", "kafka"), ("router", "redis"), ("router", "postgres"),
    ("scheduler", "kafka"), ("scheduler", "redis"), ("scheduler", "postgres"),
    ("worker-1", "redis"),
)  # fmt: skip
"""Those that carry something while events are accepted and run; a worker calls nobody but Redis."""
ASKED_BY = {"postgres": signal.SIGINT}
"""How each is asked to end: on SIGTERM Postgres waits until the last client has gone by itself."""
HOLD_S = 8.0
READY_S = 90.0
SLOW_BYTES_S = 20_000
TRIES = 3
"""Deliveries that are under way when the router is killed."""
WIPED = "Redis wiped"
CGROUPS = Path("/sys/fs/cgroup")
UNIFIED = CGROUPS / "unified" if (CGROUPS / "unified").is_dir() else CGROUPS


@dataclass(frozen=True)
class Disturbance:
    """name: of its row in docs/chaos.md. what: in a sentence. apply: the block is while it lasts. needs: why it cannot be done
    on this machine; None when it can."""

    name: str
    what: str
    apply: Callable[[Place], AbstractContextManager[None]]
    needs: Callable[[], str | None] = lambda: None


def pid_of(cluster: Cluster, name: str) -> int:
    return int(cluster.ready(name)[name]["pid"])


def kill(cluster: Cluster, name: str, how: signal.Signals = signal.SIGKILL) -> int:
    pid = pid_of(cluster, name)
    os.kill(pid, how)
    return pid


def wait_for_another(cluster: Cluster, name: str, killed: int) -> None:
    """Until what was killed is there again, in another process."""

    def is_ready() -> bool:
        child = cluster.children()[name]
        return child["state"] == "ready" and child["pid"] != killed

    wait_until(is_ready, deadline_s=READY_S, poll_s=0.3, what=f"{name} to be ready again")


@contextlib.contextmanager
def killed(place: Place, name: str) -> Iterator[None]:
    kill(place.cluster, name)
    yield


@contextlib.contextmanager
def restarted(place: Place, *names: str) -> Iterator[None]:
    """One after the other, each asked to end, as an upgrade does it."""
    for name in names:
        wait_for_another(place.cluster, name, kill(place.cluster, name, ASKED_BY.get(name, signal.SIGTERM)))
    yield


@contextlib.contextmanager
def frozen(place: Place, name: str) -> Iterator[None]:
    process = psutil.Process(pid_of(place.cluster, name))
    process.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


@contextlib.contextmanager
def wiped(place: Place) -> Iterator[None]:
    """But for queues, which are the user's data."""
    for key in place.redis.scan_iter(match="lambdad:*", count=1_000):
        place.redis.delete(key)
    yield


@contextlib.contextmanager
def wiped_whole(place: Place) -> Iterator[None]:
    place.wipe_redis()
    yield


@contextlib.contextmanager
def killed_while_trying(place: Place) -> Iterator[None]:
    """The router, while those that it delivers to have got something and not answered: it has tried, and nothing is settled."""
    with place.address.holding(TRIES, READY_S):
        kill(place.cluster, "router")
    yield


@contextlib.contextmanager
def link(place: Place, service: str, other: str, verdict: str) -> Iterator[None]:
    """What a service sends to an engine or to the worker, and gets from it. A socket belongs to the cgroup in which it was
    opened: those that are open are named by their ports, new ones by the cgroup that the service is put into meanwhile."""
    pid, port = pid_of(place.cluster, service), port_of(place, other)
    group = UNIFIED / f"lambdad-chaos-{os.getpid()}"
    group.mkdir(exist_ok=True)
    before = next(line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    opened = [c.laddr.port for c in psutil.Process(pid).net_connections("tcp") if c.raddr and c.raddr.port == port]
    ports = "{ " + ", ".join(map(str, opened or [1])) + " }"
    rules = f"""
        tcp sport {ports} tcp dport {port} {verdict}
        tcp sport {port} tcp dport {ports} {verdict}
        socket cgroupv2 level 1 "{group.relative_to(CGROUPS)}" tcp dport {port} {verdict}
    """
    table = f"table inet chaos {{\n chain out {{ type filter hook output priority 0\n{rules}\n }}\n}}\n"
    (group / "cgroup.procs").write_text(str(pid))
    try:
        subprocess.run(["nft", "-f", "-"], input=table, text=True, check=True, timeout=10)
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", "chaos"], check=False, timeout=10, capture_output=True)
        with contextlib.suppress(OSError):
            (UNIFIED / before.lstrip("/") / "cgroup.procs").write_text(str(pid))
        wait_until(lambda: removed(group), what="the cgroup to be empty")


def removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (UNIFIED / "cgroup.procs").write_text(pid)
        return False
    return True


def port_of(place: Place, called: str) -> int:
    if called == "worker-1":
        assert place.worker_port is not None, "its callers use a Unix socket"
        return place.worker_port
    variable = {"redis": "REDIS_URL", "kafka": "KAFKA_BOOTSTRAP_SERVERS", "postgres": "DATABASE_URL"}[called]
    return int(place.cluster.environment[variable].rpartition(":")[2].partition("/")[0])


@contextlib.contextmanager
def disk_full(place: Place, engine: str) -> Iterator[None]:
    """A file beside the engine's takes all the room that its file system has left."""
    folder = place.cluster.data_dir / engine
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(512))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def clock_moved(place: Place, offset_s: int) -> Iterator[None]:
    """Of all services and engines, at once; the monotonic clock goes on."""
    assert place.clock is not None
    set_clock(place.clock, offset_s)
    try:
        yield
    finally:
        set_clock(place.clock, 0)


def needs_cgroups() -> str | None:
    if os.geteuid() or shutil.which("nft") is None:
        return "needs root and nft"
    return None if (UNIFIED / "cgroup.procs").exists() else f"needs cgroup v2 at {UNIFIED}"


def set_clock(clock: Path, offset_s: int) -> None:
    """In place: every process has the file mapped. See clock.c."""
    with clock.open("r+b" if clock.exists() else "w+b") as file:
        file.write(offset_s.to_bytes(8, sys.byteorder, signed=True))


def needs_compiler() -> str | None:
    return None if shutil.which("cc") else "needs a C compiler (cc)"


def needs_root() -> str | None:
    return "needs root" if os.geteuid() else None


def _of(make: Callable[..., AbstractContextManager[None]], *arguments: Any) -> Callable[[Place], AbstractContextManager[None]]:
    return lambda place: make(place, *arguments)


def catalogue() -> list[Disturbance]:
    found = [
        *(Disturbance(f"{name} killed", f"`kill -9` of the {name}", _of(killed, name)) for name in SERVICES + ENGINES),
        *(
            Disturbance(f"{name} frozen", f"the {name} stopped for {HOLD_S:.0f} s", _of(frozen, name))
            for name in SERVICES + ENGINES
        ),
        *(Disturbance(f"{name} restarted", f"the {name} asked to end", _of(restarted, name)) for name in ENGINES),
        Disturbance(
            "router killed while delivering",
            f"`kill -9` of the router when {TRIES} posts had been made and not answered: tried, and not settled",
            _of(killed_while_trying),
        ),
        Disturbance("Redis wiped but for queues", "all of Redis but queues deleted", _of(wiped)),
        Disturbance(WIPED, "all of Redis deleted, queues with their messages too", _of(wiped_whole)),
        Disturbance("all services upgraded", "each service asked to end, in turn", _of(restarted, *SERVICES)),
    ]
    for service, other in LINKS:
        told = f"between the {service} and {other} for {HOLD_S:.0f} s"
        cut, slow = "drop", f"limit rate over {SLOW_BYTES_S} bytes/second burst 1500 bytes drop"
        found.append(
            Disturbance(f"link {service} to {other} cut", f"no packet {told}", _of(link, service, other, cut), needs_cgroups)
        )
        found.append(
            Disturbance(
                f"link {service} to {other} slow",
                f"{SLOW_BYTES_S // 1000} kB a second, what is more is lost, {told}",
                _of(link, service, other, slow),
                needs_cgroups,
            )
        )
    found += [
        Disturbance(
            f"disk of {name} full", f"no byte left where {name} writes for {HOLD_S:.0f} s", _of(disk_full, name), needs_root
        )
        for name in ENGINES
    ]
    found += [
        Disturbance(
            f"clock {'forward' if offset > 0 else 'back'} an hour",
            f"the clock of every process of the cluster moved by {offset} s for {HOLD_S:.0f} s, and back",
            _of(clock_moved, offset),
            needs_compiler,
        )
        for offset in (3_600, -3_600)
    ]
    return found


def hold() -> None:
    """Let it last: nothing is waited for but the time itself."""
    time.sleep(HOLD_S)
