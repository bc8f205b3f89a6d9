"""Free loopback ports, chosen once and kept for as long as they stay free."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the range that the kernel hands out for outgoing connections, so that none of those takes a recorded port.
FIRST_PORT = 20_000
LAST_PORT = 32_000
TRIES_MAX = 500
_chosen: dict[int, socket.socket] = {}
"""What keeps other processes from the ports that this one has chosen, by port."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now (connections that linger in TIME_WAIT do not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def choose(taken: set[int], wish: int | None = None) -> int:
    """A free port that is not in `taken`, `wish` if that is one; adds it to `taken`. Raises OSError when there is none."""
    if wish is not None and wish not in taken and is_free(wish):
        taken.add(wish)
        return wish
    for _ in range(TRIES_MAX):
        port = random.randint(FIRST_PORT, LAST_PORT)
        if port not in taken and is_free(port) and _is_nobodys(port):
            taken.add(port)
            return port
    raise OSError(f"no free loopback port between {FIRST_PORT} and {LAST_PORT}")


def _is_nobodys(port: int) -> bool:
    """Whether nobody else has chosen it who does not listen there yet; from now on it is this process's, until that ends.

    Clusters that start side by side would meet otherwise: an abstract name of a socket is the whole machine's, and no file.
    """
    name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name.bind(f"\0lambdad-port-{port}")
    except OSError:
        name.close()
        return False
    _chosen[port] = name
    return True
