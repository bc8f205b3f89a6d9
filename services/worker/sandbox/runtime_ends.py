"""What a runtime process gets of its worker: its output, its stream, the files by which it joins its cgroups."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

from services.worker.sandbox.cgroups import Cgroup


@contextlib.contextmanager
def runtime_ends(output_fd: int, stream: socket.socket, cgroup: Cgroup) -> Iterator[list[int]]:
    """Their descriptors, in the order in which they are passed on; closed here afterwards. Raises OSError."""
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, output_fd)
        fds = [output_fd, stack.enter_context(stream).fileno()]
        for fd in cgroup.open_procs():
            stack.callback(os.close, fd)
            fds.append(fd)
        yield fds
