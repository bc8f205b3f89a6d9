"""Where a worker is reached: "host:port", or "unix:name" for one whose callers are all on its own host.

The name is one of Linux's abstract sockets: it belongs to the network namespace, as the loopback address does, has no file
that could be left behind, and saves the TCP stack's share of every invocation.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

UNIX = "unix:"

P = TypeVar("P", bound=asyncio.BaseProtocol)


def on_host(name: str) -> str:
    """The address of an abstract socket."""
    return UNIX + name


def unix_path(address: str) -> str:
    """What the operating system calls the socket of such an address."""
    return "\0" + address.removeprefix(UNIX)


async def dial(address: str, factory: Callable[[], P], *, timeout_s: float, tls: ssl.SSLContext | None = None) -> P:
    """Raises OSError (ssl.SSLError is one), TimeoutError, or ValueError for what is no address. tls: for other hosts alone."""
    async with asyncio.timeout(timeout_s):
        loop = asyncio.get_running_loop()
        if address.startswith(UNIX):
            _, protocol = await loop.create_unix_connection(factory, sock=_connected(unix_path(address)))
        else:
            host, _, port = address.rpartition(":")
            _, protocol = await loop.create_connection(factory, host.strip("[]"), int(port), ssl=tls)
        return protocol


def _connected(path: str) -> socket.socket:
    """uvloop's own connect takes no abstract names. On one host there is nothing to wait for: a listener that has no room left
    refuses at once."""
    unconnected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        unconnected.connect(path)
    except OSError:
        unconnected.close()
        raise
    return unconnected
