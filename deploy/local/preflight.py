"""What must be true of the machine before a cluster starts: every problem found is named at once, with what to do about it."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import sys
from pathlib import Path

import psutil

from deploy.local.ports import LOOPBACK, is_free
from services.worker.sandbox.host import host_problems
from shared.domain.errors import ConfigurationError
from shared.settings import Settings

PYTHON_MIN = (3, 11)
FREE_DISK_BYTES_MIN = 512 * 1024**2
NAMESPACES = ("pid", "mnt", "net", "ipc", "uts")
CONTROLLERS = ("memory", "cpu", "pids")
NOT_ROOT = (
    "lambdad must be started by root: a worker gives every function a user, namespaces and limits of its own, which nobody "
    "else may. Start it with sudo; or without workers (--workers 0), or with the engines alone (--engines-only). "
    "LAMBDAD_WORKER__ISOLATION=rootless names a weaker level that takes no root (SECURITY.md)."
)
# Numbers of system calls that glibc may have no name for; the same on every architecture of ours (all came after 5.0).
CALLS = {429: ("move_mount", "5.2"), 430: ("fsopen", "5.2"), 434: ("pidfd_open", "5.3")}
PR_GET_SECCOMP = 21

_libc = ctypes.CDLL(None, use_errno=True)


def check_mounts() -> None:
    """What nothing can be started or found out without. Raises ConfigurationError that says how to have it."""
    missing = []
    if not Path("/proc/self/ns").exists():
        missing.append("There is no /proc here: mount it (mount -t proc proc /proc).")
    if not Path(os.devnull).is_char_device():
        missing.append(
            "There are no devices in /dev here: for a chroot, mount them before entering it (mount --rbind /dev FOLDER/dev)."
        )
    _raise(missing)


def check_privilege(*, workers: int) -> None:
    """What would be found out only after a download and the start of everything else. Raises ConfigurationError."""
    if workers and os.geteuid() != 0 and not rootless():
        raise ConfigurationError(NOT_ROOT)


def rootless() -> bool:
    """Whether the operator has named the weaker level, which a worker takes from the same environment."""
    return Settings().worker.isolation == "rootless"


def check(data_root: Path, port: int, *, workers: int) -> None:
    """Raises ConfigurationError that names every problem."""
    problems = [*_python(), *_disk(data_root), *_port(port), *_closed_root()]
    if workers:
        problems += [*_kernel(), *([] if rootless() else _control_groups()), *host_problems()]
    _raise(problems)


def _raise(problems: list[str]) -> None:
    if problems:
        raise ConfigurationError("lambdad cannot start here:\n" + "\n".join(f"- {problem}" for problem in problems))


def _python() -> list[str]:
    if sys.version_info >= PYTHON_MIN:
        return []
    return [f"Python {'.'.join(map(str, PYTHON_MIN))} or newer is needed; this is {sys.version.split()[0]}."]


def _disk(root: Path) -> list[str]:
    existing = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free >= FREE_DISK_BYTES_MIN:
        return []
    return [
        f"The disk of {root} has {free / 1024**2:.0f} MiB left and {FREE_DISK_BYTES_MIN // 1024**2} MiB are needed. "
        "Make room, or name another place with --data-dir."
    ]


def _port(port: int) -> list[str]:
    if is_free(port):
        return []
    return [f"Port {port} of {LOOPBACK} is taken{_holder(port)}. Choose another one with --port."]


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""


def _closed_root() -> list[str]:
    mode = Path("/").stat().st_mode & 0o777
    if os.geteuid() != 0 or mode & 0o001:
        return []
    return [
        f"Only root may enter the root directory of this file system (its mode is {mode:04o}, as of a folder made by mktemp), "
        "and engines and functions run as other users: chmod 755 /"
    ]


def _kernel() -> list[str]:
    problems = []
    missing = [name for name in NAMESPACES if not Path(f"/proc/self/ns/{name}").exists()]
    if missing:
        problems.append(f"This kernel has no {', '.join(missing)} namespaces (CONFIG_NAMESPACES and its parts).")
    if _libc.prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0:
        problems.append("This kernel has no seccomp (CONFIG_SECCOMP_FILTER).")
    release = os.uname().release
    for number, (name, since) in CALLS.items():
        if not _has_call(number):
            problems.append(f"The system call {name} is missing: Linux {since} or newer is needed; this is {release}.")
    return problems


def _has_call(number: int) -> bool:
    """Whether the kernel knows it: called with arguments that cannot work, it fails for another reason than being unknown."""
    ctypes.set_errno(0)
    result = _libc.syscall(number, -1, 0, -1, 0, -1)
    if result >= 0:  # pragma: no cover  # none of them succeeds with these
        os.close(result)
    return ctypes.get_errno() != errno.ENOSYS


def _control_groups() -> list[str]:
    available = _controllers()
    missing = [name for name in CONTROLLERS if name not in available]
    if not missing:
        return []
    return [
        f"The cgroup controllers {', '.join(missing)} are not available: functions could not be held to their limits. "
        "In a container, give it its own writable cgroup tree; on a host, enable them at boot (cgroup_enable=memory)."
    ]


def _controllers() -> set[str]:
    """Names of usable controllers, of either version: each is looked for itself, for hosts mix both."""
    found: set[str] = set()
    try:
        found.update(Path("/sys/fs/cgroup/cgroup.controllers").read_text().split())
    except OSError:
        pass
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        mounts = []
    for fields in (line.split() for line in mounts):
        if len(fields) > 3 and fields[2] == "cgroup":
            found.update(fields[3].split(","))
    return found


def listening_elsewhere(host: str) -> bool:
    """Whether a host name or address is anything but this machine's loopback."""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return True
    return not all(address.startswith("127.") or address == "::1" for address in addresses)
