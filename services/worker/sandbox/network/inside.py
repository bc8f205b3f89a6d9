"""What a sandbox's init does with the network of its slot. Python 3.8, standard library only."""

from __future__ import annotations

import os
import socket
import struct

from .. import libc
from ..namespaces import NEW_NET
from .addresses import RUNTIME_API, RUNTIME_API_PORT


def enter(namespace_fd: int) -> None:
    """For good; the descriptor is closed. Loopback is up, and has the Runtime API's address. Raises OSError."""
    libc.setns(namespace_fd, NEW_NET)
    os.close(namespace_fd)


def make_own() -> None:
    """In a network namespace that was made with the sandbox: the same as those that are entered have. Raises OSError."""
    import fcntl

    set_flags, set_address, set_netmask, up = 0x8914, 0x8916, 0x891C, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        fcntl.ioctl(device, set_flags, struct.pack("16sH22x", b"lo", up))
        for request, address in ((set_address, RUNTIME_API), (set_netmask, "255.255.255.255")):
            fcntl.ioctl(device, request, struct.pack("16sHH4s16x", b"lo:0", socket.AF_INET, 0, socket.inet_aton(address)))


def listen_for_runtime() -> socket.socket:
    """The Runtime API's listening socket, made inside the sandbox's network and served by the worker."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((RUNTIME_API, RUNTIME_API_PORT))
    listener.listen(16)
    return listener
