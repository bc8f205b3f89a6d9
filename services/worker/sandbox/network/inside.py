"""What a sandbox's init does with the network of its slot. Python 3.8, standard library only."""

from __future__ import annotations

import os
import socket

from .. import libc
from ..namespaces import NEW_NET
from .addresses import RUNTIME_API, RUNTIME_API_PORT


def enter(namespace_fd: int) -> None:
    """For good; the descriptor is closed. Loopback is up, and has the Runtime API's address. Raises OSError."""
    libc.setns(namespace_fd, NEW_NET)
    os.close(namespace_fd)


def listen_for_runtime() -> socket.socket:
    """The Runtime API's listening socket, made inside the sandbox's network and served by the worker."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((RUNTIME_API, RUNTIME_API_PORT))
    listener.listen(16)
    return listener
