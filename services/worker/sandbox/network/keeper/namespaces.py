"""Network namespaces of a process with a single thread: made, entered and left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from services.worker.sandbox import libc
from services.worker.sandbox.namespaces import NEW_MOUNT, NEW_NET

_MINE = "/proc/thread-self/ns/net"


def current() -> int:
    """A descriptor that keeps it alive."""
    return os.open(_MINE, os.O_RDONLY | os.O_CLOEXEC)


def new() -> int:
    """A fresh one, which ends with its last descriptor and process. Its devices have no addresses but those they are given.
    Raises OSError."""
    home = current()
    try:
        libc.unshare(NEW_NET)
        try:
            _without_link_local_addresses()
            return current()
        finally:
            libc.setns(home, NEW_NET)
    finally:
        os.close(home)


def _without_link_local_addresses() -> None:
    """Both ends of a pair would give themselves the same one."""
    with suppress(FileNotFoundError):
        set_value("ipv6/conf/default/addr_gen_mode", "1")


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Sockets made meanwhile, and /proc/sys/net, are that namespace's."""
    home = current()
    try:
        libc.setns(namespace, NEW_NET)
        try:
            yield
        finally:
            libc.setns(home, NEW_NET)
    finally:
        os.close(home)


def make_settings_writable() -> None:
    """Containers have /proc/sys read-only: a /proc of this process's own is not. Raises OSError."""
    recursive, private = 0x4000, 1 << 18
    libc.unshare(NEW_MOUNT)
    libc.mount(None, "/", None, recursive | private)
    if not os.access("/proc/sys/net/ipv4/ip_forward", os.W_OK):
        libc.mount("proc", "/proc", "proc", 0)


def set_value(name: str, value: str) -> None:
    """A setting of the namespace that is entered: `ipv4/ip_forward`. Raises OSError."""
    with open("/proc/sys/net/" + name, "w") as file:
        file.write(value)


def value(name: str) -> str:
    """Empty where this kernel has no such setting."""
    try:
        with open("/proc/sys/net/" + name) as file:
            return file.read().strip()
    except OSError:
        return ""
