"""The cgroups of sandboxes: found by controller (each may be of v1 or v2), nested under the worker's own, one folder a sandbox.

Fails closed: a controller that is missing stops the worker, unless the settings name it in `allow_missing_limits`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from services.worker.sandbox import cgroup_v1, cgroup_v2, dead_cgroups, host_limits
from services.worker.sandbox.cgroup_files import read, write
from services.worker.sandbox.memory_watch import Alarm
from shared.domain.errors import ConfigurationError
from shared.domain.limits import MEMORY_MB_PER_VCPU, PROCESSES_MAX

MEMORY, CPU, PIDS, FREEZER = "memory", "cpu", "pids", "freezer"
CONTROLLERS = (MEMORY, CPU, PIDS)
FACILITIES = (*CONTROLLERS, FREEZER)
"""What a sandbox's cgroups do. Of v2, freezing needs no controller: hosts that have both versions have it, and it is by far
the quicker one (measured: 6 us for a freeze and for a thaw, 80 us of v1)."""
CPU_PERIOD_US = 20_000
"""As AWS: a function that used up its share waits at most this long for more."""
CPU_QUOTA_US_MIN = 1_000
INIT_CORES = 1.0
"""What the first initialisation may use at least, whatever the memory: full speed for one thread, and never the whole host."""
SOCKET_BYTES_MAX = 16 * 1024 * 1024
"""What a sandbox's TCP and UDP sockets may hold unread in all, where that is not counted with its memory (v1). Nothing leads
out of a sandbox, so it is only ever passed between its own processes and the Runtime API."""

_numbers = itertools.count(1)
"""A process may have more than one tree."""


class Cgroup:
    """One sandbox's folders. Its methods raise OSError; what a missing controller would do is left out."""

    def __init__(self, folders: dict[str, tuple[str, ModuleType]]) -> None:
        self._folders = folders
        self._memory_limit_bytes = 0

    def open_procs(self) -> list[int]:
        """Descriptors of the files by which a process joins; the caller closes them."""
        return [os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for folder in self._paths()]

    def processes(self) -> list[int]:
        """Process ids, as the worker sees them, of those that are in it."""
        folder = next(iter(self._paths()), None)
        return [] if folder is None else [int(pid) for pid in read(folder, "cgroup.procs").split()]

    def set_memory(self, memory_bytes: int, tmp_bytes: int) -> None:
        """What is in /tmp is charged too: memory_watch.py keeps the two apart."""
        if MEMORY in self._folders:
            folder, version = self._folders[MEMORY]
            self._memory_limit_bytes = memory_bytes + tmp_bytes
            version.set_memory_limit(folder, self._memory_limit_bytes)

    def memory_alarm(self) -> Alarm | None:
        if MEMORY not in self._folders:
            return None
        folder, version = self._folders[MEMORY]
        alarm: Alarm = version.MemoryAlarm(folder)
        return alarm

    def used_bytes(self) -> int:
        if MEMORY not in self._folders:
            return 0
        folder, version = self._folders[MEMORY]
        return int(version.used_bytes(folder))

    def squeeze(self, limit_bytes: int) -> bool:
        """Have the kernel reclaim what is above; True when what is left fits, or the kernel has killed for it. May take a
        while."""
        if MEMORY not in self._folders:
            return True
        folder, version = self._folders[MEMORY]
        return bool(version.squeeze(folder, limit_bytes, self._memory_limit_bytes))

    def reset_peak(self) -> None:
        if MEMORY in self._folders:
            folder, version = self._folders[MEMORY]
            version.reset_peak(folder)

    def peak_bytes(self) -> int:
        if MEMORY not in self._folders:
            return 0
        folder, version = self._folders[MEMORY]
        return int(version.peak_bytes(folder))

    def out_of_memory_kills(self) -> int:
        if MEMORY not in self._folders:
            return 0
        folder, version = self._folders[MEMORY]
        return int(version.out_of_memory_kills(folder))

    def set_cpu(self, memory_mb: int) -> None:
        """Give the CPU that goes with this much memory: one core at 1,769 MB."""
        if CPU in self._folders:
            folder, version = self._folders[CPU]
            share = memory_mb / MEMORY_MB_PER_VCPU
            version.set_cpu_quota(folder, max(CPU_QUOTA_US_MIN, round(CPU_PERIOD_US * share)))
            version.set_cpu_share(folder, share)

    def boost_cpu(self, memory_mb: int) -> None:
        """For the first initialisation: what goes with the memory, a core at least, which is what a new cgroup has."""
        if CPU in self._folders and memory_mb > INIT_CORES * MEMORY_MB_PER_VCPU:
            folder, version = self._folders[CPU]
            version.set_cpu_quota(folder, round(CPU_PERIOD_US * memory_mb / MEMORY_MB_PER_VCPU))

    def set_frozen(self, frozen: bool) -> None:
        if FREEZER in self._folders:
            folder, version = self._folders[FREEZER]
            version.set_frozen(folder, frozen)

    def set_first_limits(self) -> None:
        """What does not depend on the function, so that it takes no time of a cold start."""
        self.set_processes(PROCESSES_MAX)
        if CPU in self._folders:
            folder, version = self._folders[CPU]
            version.set_cpu_period(folder, CPU_PERIOD_US)
            version.set_cpu_quota(folder, round(CPU_PERIOD_US * INIT_CORES))
        if MEMORY in self._folders:
            folder, version = self._folders[MEMORY]
            version.set_socket_limit(folder, SOCKET_BYTES_MAX)

    def set_processes(self, processes: int) -> None:
        if PIDS in self._folders:
            folder, version = self._folders[PIDS]
            version.set_processes_limit(folder, processes)

    def remove(self) -> bool:
        """Remove the folders; False while a process that is about to end still holds one."""
        done = True
        for folder in self._paths():
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                done = False
        return done

    def _paths(self) -> Iterable[str]:
        return dict.fromkeys(folder for folder, _version in self._folders.values())


class CgroupTree:
    """The worker's base folder in each hierarchy, which bounds what all its sandboxes take together.

    memory_bytes, processes: those bounds; what suits the host by default, as `memory_bytes` says then. Raises
    ConfigurationError when a promised limit cannot be had."""

    def __init__(
        self, allow_missing: Iterable[str] = (), *, memory_bytes: int | None = None, processes: int | None = None
    ) -> None:
        self._processes = processes or host_limits.processes()
        name = dead_cgroups.base_name(next(_numbers))
        parents, problems = find_parents()
        for controller in allow_missing:
            problems.pop(controller, None)
        if problems:
            reasons = "; ".join(f"{controller}: {reason}" for controller, reason in problems.items())
            raise ConfigurationError(
                f"functions cannot be limited on this host ({reasons}). Give the worker a writable cgroup file system with "
                "these controllers, or name them in LAMBDAD_WORKER__ALLOW_MISSING_LIMITS to run without those limits."
            )
        self._bases: dict[str, tuple[str, ModuleType]] = {}
        for controller, (parent, version) in parents.items():
            self._bases[controller] = (f"{parent}/{name}", version)
        bound = parents[MEMORY][1].memory_bound(parents[MEMORY][0]) if MEMORY in parents else None
        self.memory_bytes = memory_bytes or host_limits.memory_bytes(bound)
        self._held: list[int] = []
        self._make_bases()

    def _make_bases(self) -> None:
        for base in dict.fromkeys(base for base, _version in self._bases.values()):
            os.makedirs(base, exist_ok=True)
            self._held.append(dead_cgroups.hold(base))
        for controller, (base, version) in self._bases.items():
            if version is cgroup_v2 and controller in CONTROLLERS:
                write(base, "cgroup.subtree_control", f"+{controller}")
            if controller == MEMORY:
                version.set_socket_limit(base, _all_socket_bytes_max())
                version.set_memory_limit(base, self.memory_bytes)
                version.keep_out_of_swap(base)
            elif controller == PIDS:
                version.set_processes_limit(base, self._processes)

    def create(self, name: str) -> Cgroup:
        """A sandbox's cgroup, with the limits that every function has. Raises OSError."""
        folders = {controller: (f"{base}/{name}", version) for controller, (base, version) in self._bases.items()}
        cgroup = Cgroup(folders)
        try:
            for folder in dict.fromkeys(folder for folder, _version in folders.values()):
                self._make_folder(folder)
            cgroup.set_first_limits()
        except OSError:
            with contextlib.suppress(OSError):
                cgroup.remove()
            raise
        return cgroup

    def _make_folder(self, folder: str) -> None:
        try:
            os.mkdir(folder)
        except FileNotFoundError:
            # An empty base may go: whoever tidies up may take it for nobody's.
            self._make_bases()
            os.mkdir(folder)

    def used_bytes(self, exact_above: int) -> int:
        """In use by all sandboxes together. Above the number, what can be reclaimed is left out, which is more to read. Raises
        OSError."""
        if MEMORY not in self._bases:
            return 0
        base, version = self._bases[MEMORY]
        used = int(version.used_bytes(base))
        return used if used <= exact_above else used - int(version.reclaimable_bytes(base))

    def children(self) -> list[str]:
        """The folders that exist now, one entry a sandbox and hierarchy."""
        bases = dict.fromkeys(base for base, _version in self._bases.values())
        return [entry.path for base in bases for entry in os.scandir(base) if entry.is_dir()]

    def close(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()
        for base in dict.fromkeys(base for base, _version in self._bases.values()):
            try:
                os.rmdir(base)
            except OSError:
                pass


def find_parents() -> tuple[dict[str, tuple[str, ModuleType]], dict[str, str]]:
    """(controller: folder of the worker's own cgroup and its version, controller: what is wrong with it)."""
    found: dict[str, tuple[str, ModuleType]] = {}
    version: ModuleType
    problems: dict[str, str] = {}
    paths = _own_paths()
    mounts = _mounts()
    unified = _folder(mounts[""], paths.get("", "/")) if "" in mounts else None
    for controller in FACILITIES:
        if controller == FREEZER and unified is not None and _is_writable(unified):
            version, folder = cgroup_v2, unified
        elif controller in mounts and controller in paths:
            version, folder = cgroup_v1, _folder(mounts[controller], paths[controller])
        elif unified is not None and controller in _v2_controllers(unified):
            version, folder = cgroup_v2, unified
        else:
            problems[controller] = "no cgroup hierarchy here has this controller"
            continue
        if not _is_writable(folder):
            problems[controller] = f"{folder} cannot be written"
            continue
        if version is cgroup_v2 and controller in CONTROLLERS:
            try:
                _delegate_v2(folder, controller)
            except OSError as error:
                problems[controller] = f"{folder}: {error.strerror}"
                continue
        if controller == MEMORY and not version.counts_sockets(folder):
            problems[controller] = f"{folder} does not limit what sockets hold"
            continue
        found[controller] = (folder, version)
    return found, problems


def mount_points() -> list[str]:
    """Of every hierarchy that sandboxes may have cgroups in."""
    return list(dict.fromkeys(mount_point for mount_point, _root in _mounts().values()))


def _own_paths() -> dict[str, str]:
    paths = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _mounts() -> dict[str, tuple[str, str]]:
    """controller ("" for v2): (mount point, path of the cgroup that is mounted there)."""
    mounts: dict[str, tuple[str, str]] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, mount_point = before.split()[3:5]
        kind, _source, options = after.split()[:3]
        if kind == "cgroup":
            for controller in set(options.split(",")) & set(FACILITIES):
                mounts.setdefault(controller, (mount_point, root))
        elif kind == "cgroup2":
            mounts.setdefault("", (mount_point, root))
    return mounts


def _folder(mount: tuple[str, str], path: str) -> str:
    """Where the cgroup `path` is seen; a container sees its own as the mount's root."""
    mount_point, root = mount
    below = path if root == "/" else "/" + os.path.relpath(path, root) if path.startswith(root) else "/"
    folder = mount_point + below.rstrip("/").removesuffix("/.")
    return folder if os.path.isdir(folder) else mount_point


def _is_writable(folder: str) -> bool:
    return os.access(folder, os.W_OK) and not os.statvfs(folder).f_flag & os.ST_RDONLY


def _v2_controllers(folder: str) -> list[str]:
    try:
        return read(folder, "cgroup.controllers").split()
    except OSError:
        return []


def _delegate_v2(folder: str, controller: str) -> None:
    """Let children use the controller. A v2 cgroup with children that are limited may hold no process: move them to a leaf."""
    if controller in read(folder, "cgroup.subtree_control").split():
        return
    try:
        write(folder, "cgroup.subtree_control", f"+{controller}")
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        leaf = f"{folder}/lambdad-services"
        os.makedirs(leaf, exist_ok=True)
        for pid in read(folder, "cgroup.procs").split():
            try:
                write(leaf, "cgroup.procs", pid)
            except ProcessLookupError:
                continue
        write(folder, "cgroup.subtree_control", f"+{controller}")


def _all_socket_bytes_max() -> int:
    """Of all sandboxes together: half of what the host may hold before every socket on it is slowed down."""
    pressure = min(_pressure_pages("tcp"), _pressure_pages("udp"))
    return max(SOCKET_BYTES_MAX, pressure * os.sysconf("SC_PAGE_SIZE") // 2)


def _pressure_pages(protocol: str) -> int:
    """Where a network of its own, as a container has it, does not show the host's figure: what the kernel sets unless told."""
    try:
        _low, pressure, _high = Path(f"/proc/sys/net/ipv4/{protocol}_mem").read_text().split()
    except FileNotFoundError:
        return os.sysconf("SC_PHYS_PAGES") // 16
    return int(pressure)
