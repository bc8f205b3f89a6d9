"""Everything that a worker makes on its host and in Redis, counted from outside."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from services.worker.sandbox.cgroups import find_parents
from shared.dispatch.cell.keys import Keys
from tests.conftest import READY_S
from tests.support import mounts, wait_until

WORKER = "worker-1"
SETTLED_S = 60
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")


class Processes:
    """Of one worker: below it zygotes and other helpers, below a zygote the inits of sandboxes, below these what is theirs."""

    def __init__(self, worker_pid: int) -> None:
        self.worker = psutil.Process(worker_pid)
        self.helpers = self._alive(self.worker.children())
        below: dict[int, list[psutil.Process]] = {}
        for process in self._alive(self.worker.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                below.setdefault(process.ppid(), []).append(process)
        self.zygotes = [each for each in self.helpers if any("zygote/boot.py" in word for word in _command(each))]
        self.inits = [init for zygote in self.zygotes for init in below.get(zygote.pid, [])]
        self.runtimes = [runtime for init in self.inits for runtime in below.get(init.pid, [])]
        self.all = [self.worker, *(each for found in below.values() for each in found)]

    @staticmethod
    def _alive(found: list[psutil.Process]) -> list[psutil.Process]:
        return [each for each in found if _lives(each)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


class Census:
    """redis: of the cluster. by_network: whether callers reach the worker so, and not by a Unix socket. Who died is remembered:
    nothing of theirs may live on."""

    def __init__(self, cluster: Any, redis: Any, *, by_network: bool = False) -> None:
        self._cluster = cluster
        self._by_network = by_network
        self._redis = redis
        self._keys = Keys("0")
        self._known: dict[tuple[int, float], psutil.Process] = {}
        self._workers: set[int] = set()

    def worker_pid(self) -> int:
        """Of the one that runs, or of the one that is started next: between two of them there is none for a while."""
        pid = wait_until(lambda: self._cluster.children()[WORKER]["pid"], deadline_s=READY_S, what="a worker runs")
        return int(pid)

    def remember(self, processes: Processes) -> None:
        """Before some of them are killed."""
        self._workers.add(processes.worker.pid)
        for process in processes.all:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._known[process.pid, process.create_time()] = process

    def take(self) -> dict[str, int]:
        """What must not be more afterwards than it was before, by name."""
        services = self._cluster.ready(WORKER, "scheduler")
        processes = Processes(int(services[WORKER]["pid"]))
        self.remember(processes)
        metrics = read_metrics(int(services[WORKER]["port"]))
        living = {each.pid for each in processes.all}
        redis = self._in_redis()
        callers = 0 if self._by_network else int(metrics["lambdad_worker_connections"])
        return {
            "processes of the worker": len(processes.all),
            "processes of those who died": sum(_lives(each) and each.pid not in living for each in self._known.values()),
            "namespaces": len(set(_namespaces(processes.all))),
            "mounts": sum(self._is_ours(line) for line in mounts()),
            "cgroups": sum(1 for _ in self._cgroups(processes.worker.pid)),
            "cgroups of those who died": sum(1 for pid in self._workers - {processes.worker.pid} for _ in self._cgroups(pid)),
            "descriptors of the worker": _own_descriptors(processes.worker) - callers,
            "descriptors of its helpers": sum(_descriptors(each) for each in processes.helpers),
            "descriptors of the scheduler": _own_descriptors(psutil.Process(int(services["scheduler"]["pid"]))),
            "network devices that nobody keeps": _devices() - _keepers(),
            "files of workers": sum(1 for _ in self._files()),
            "environments": int(metrics["lambdad_worker_environments"]),
            "user ids taken": -int(metrics["lambdad_worker_user_ids_free"]),
            **redis,
        }

    def settled(self) -> dict[str, int]:
        """`take`, once nothing changes any more, and nothing runs."""
        seen = [self.take()]

        def rests() -> bool:
            seen.append(self.take())
            return seen[-1] == seen[-2] == seen[max(0, len(seen) - 3)] and not seen[-1]["environments"]

        wait_until(rests, deadline_s=SETTLED_S, poll_s=0.5, what=f"nothing changes: {seen[-1]}")
        return seen[-1]

    def more_than(self, before: dict[str, int]) -> dict[str, str]:
        """What there is more of than before, after a while in which it may go."""
        more: dict[str, str] = {}

        def is_as_before() -> bool:
            more.clear()
            more.update({name: f"{count}, was {before[name]}" for name, count in self.take().items() if count > before[name]})
            return not more

        with contextlib.suppress(AssertionError):
            wait_until(is_as_before, deadline_s=SETTLED_S, poll_s=0.5)
        return more

    def _is_ours(self, mount: str) -> bool:
        """Others may mount something on this machine meanwhile. A namespace may be kept by a mount, too."""
        return str(self._cluster.data_dir) in mount or " - nsfs " in mount

    def _in_redis(self) -> dict[str, int]:
        redis, keys = self._redis, self._keys
        state = redis.hgetall(keys.state)
        envs = list(redis.scan_iter(match=f"{keys.prefix}envs:*", count=1_000))
        leases = list(redis.scan_iter(match=f"{keys.prefix}leases:*", count=1_000))
        idle = list(redis.scan_iter(match=f"{keys.prefix}idle:*", count=1_000))
        return {
            "leases": sum(redis.hlen(key) for key in leases),
            "counted as running": sum(int(count) for name, count in state.items() if name.startswith(("run:", "running:"))),
            "environments in Redis": sum(redis.hlen(key) for key in envs),
            "idle environments in Redis": sum(redis.zcard(key) for key in idle),
            "parked environments": redis.zcard(keys.parked),
        }

    def _cgroups(self, pid: int) -> Iterator[Path]:
        """Of the sandboxes of a worker, in every hierarchy; of one that died its own too."""
        for parent in dict.fromkeys(parent for parent, _version in find_parents()[0].values()):
            for base in Path(parent).glob(f"lambdad-{pid}-*"):
                yield base
                yield from (entry for entry in base.iterdir() if entry.is_dir())

    def _files(self) -> Iterator[Path]:
        """But for unpacked code, which is kept for who needs it next."""
        for root in self._cluster.data_dir.glob("worker-*"):
            yield root
            for path in root.rglob("*"):
                within = path.relative_to(root).parts
                if within[0] != "code" or (len(within) == 2 and within[1].startswith(("new-", "old-"))):
                    yield path


def _devices() -> int:
    return sum(name.startswith("lambdad") for name in os.listdir("/sys/class/net"))


def _keepers() -> int:
    """Of every worker in this network namespace, without their forks: each has one device."""
    keepers = {
        each.pid: each for each in psutil.process_iter() if _lives(each) and "network.keeper" in " ".join(_command(each))
    }
    found = 0
    for each in keepers.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += each.ppid() not in keepers and _network(each.ppid()) == _network(os.getpid())
    return found


def _network(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def _namespaces(processes: list[psutil.Process]) -> Iterator[str]:
    for process in processes:
        for kind in _NAMESPACES:
            with contextlib.suppress(OSError):
                yield os.readlink(f"/proc/{process.pid}/ns/{kind}")


def _own_descriptors(process: psutil.Process) -> int:
    """But for connections to engines, which come and go as their clients like. Callers reach a worker by Unix sockets."""
    return int(process.num_fds()) - len(process.net_connections("inet"))


def _descriptors(process: psutil.Process) -> int:
    try:
        return int(process.num_fds())
    except psutil.Error:
        return 0


def read_metrics(port: int) -> dict[str, float]:
    """Those without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.partition(" ") for line in lines if line[:1] not in ("#", ""))}
