"""The network of a sandbox: a namespace of its own, and what its slot says is in there. Python 3.8, standard library only.

So far that is NONE: nothing but a loopback device. Nothing leads out: no host loopback, no engine, no metadata address can be
reached. A network that leads further is a further kind here, for init, and a part of the slot (slot.py), for the worker.
"""

from __future__ import annotations

import fcntl
import socket
import struct

from .addresses import RUNTIME_API, RUNTIME_API_PORT

NONE = "none"

_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8916, 0x891C, 0x8913, 0x8914, 0x1


def set_up(kind: str) -> None:
    """In the sandbox's init. Raises OSError, and ValueError for a kind that is none."""
    if kind != NONE:
        raise ValueError("no such network: %s" % kind)
    _bring_up_loopback()


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        (flags,) = struct.unpack_from("16xH", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0)))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
        for request, address in ((_SIOCSIFADDR, RUNTIME_API), (_SIOCSIFNETMASK, "255.255.255.255")):
            packed = struct.pack("16sHH4s16x", b"lo:api", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, request, packed)


def listen_for_runtime() -> socket.socket:
    """The Runtime API's listening socket, made inside the sandbox's network and served by the worker."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((RUNTIME_API, RUNTIME_API_PORT))
    listener.listen(16)
    return listener
