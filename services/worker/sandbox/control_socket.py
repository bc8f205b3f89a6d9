"""The worker's end of a SOCK_SEQPACKET socket to a zygote or to a sandbox's init."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from services.worker.sandbox import protocol
from services.worker.sandbox.spec import SandboxError


class ControlSocket:
    """on_message gets each message with its descriptors, which are its to close; on_end is called once, at the end."""

    def __init__(self, on_message: Callable[[dict[str, Any], list[int]], None], on_end: Callable[[], None]) -> None:
        self._socket, self.far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._fd = self._socket.fileno()
        self._open = True
        self._loop.add_reader(self._fd, self._on_readable)

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Raises SandboxError when the other end is gone or does not read."""
        try:
            protocol.send_message(self._socket, message, fds)
        except OSError as error:
            raise SandboxError(f"the sandbox cannot be told {message.get('op', 'anything')}: {error.strerror}") from error

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            self._socket.close()
        self.far_end.close()

    def _on_readable(self) -> None:
        try:
            message, fds = protocol.receive_message(self._socket)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            message, fds = {}, []
        if message:
            self._on_message(message, fds)
            return
        for fd in fds:
            os.close(fd)
        if self._open:
            self.close()
            self._on_end()
