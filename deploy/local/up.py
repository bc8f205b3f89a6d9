"""`lambdad up`: from options and what is on disk to a running supervisor, in the foreground or as a daemon."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from deploy.local import messages, preflight, services
from deploy.local.credentials import Credentials, load_or_create, save_addresses
from deploy.local.engines import Engine
from deploy.local.engines.external import ADDRESSES, PREFIX, ExternalEngine, external_engine, ignored
from deploy.local.engines.java import Java
from deploy.local.engines.java_archive import make_archive
from deploy.local.engines.starting import make_engine
from deploy.local.layout import DataDir
from deploy.local.logs import rotate, tail
from deploy.local.ports import LOOPBACK, choose
from deploy.local.services import ENGINES, QUEUES, ClusterOptions
from deploy.local.state import ClusterState, Phase, hold_lock, is_running, read_state
from deploy.local.status import with_queues
from deploy.local.supervisor import Supervisor
from shared.domain.errors import ConfigurationError
from shared.settings import Settings

DEFAULT_PORT = 9000
DETACH_TIMEOUT_S = 120.0
POLL_S = 0.05
WORKERS_MAX = 16


@dataclass(frozen=True)
class UpRequest:
    """What was asked for.

    port, workers: None keeps what the data directory had the last time, else the default. ends_with: pid of the process that
    the cluster must not outlive.
    """

    data: DataDir
    port: int | None
    workers: int | None
    auth: bool
    engines_only: bool = False
    ends_with: int | None = None


def run_foreground(request: UpRequest) -> int:
    """Start the cluster and stay until it is told to stop. Raises ConfigurationError."""
    data = request.data
    _check_machine(request)
    prepare_data_dir(data)
    with hold_lock(data.lock) as ours:
        if not ours:
            return already_running(request)
        state, options = _state_and_options(request)
        _rotate_old_logs(data)
        preflight.check(data.root, options.port, workers=options.workers if options.services else 0)
        _refuse_open_no_auth(options)
        credentials = load_or_create(data.credentials)
        engines = _engines(data, state, options, credentials)
        variables = {name: value for engine in engines for name, value in engine.variables.items()}
        save_addresses(data.addresses, variables)
        for note in (ignored(name, os.environ, with_queues(variables)) for name in ADDRESSES):
            if note:
                _say(note)
        if not options.auth:
            print(messages.NO_AUTH, file=sys.stderr)
        supervisor = Supervisor(data, state, options, credentials, engines, _say, ends_with=request.ends_with)
        asyncio.run(supervisor.run(lambda: print(messages.ready(data, state), flush=True)))
    return 0


def run_detached(request: UpRequest) -> int:
    """Start the cluster as a daemon; return when it is ready. Raises ConfigurationError."""
    data = request.data
    _check_machine(request)
    prepare_data_dir(data)
    if is_running(data.lock):
        return already_running(request)
    ensure_installed(os.environ)
    argv = [sys.executable, "-P", "-m", "deploy.local.cli", "up", "--data-dir", str(data.root)]
    argv += ["--port", str(request.port)] if request.port is not None else []
    argv += ["--workers", str(request.workers)] if request.workers is not None else []
    argv += [] if request.auth else ["--no-auth"]
    argv += ["--engines-only"] if request.engines_only else []
    argv += ["--ends-with", str(request.ends_with)] if request.ends_with is not None else []
    log = data.log("supervisor")
    rotate(log, 0)
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    try:
        return _follow(process, data, log)
    except KeyboardInterrupt:
        process.terminate()
        process.wait(60)
        return 130


def _check_machine(request: UpRequest) -> None:
    """Before anything is fetched, written or started. Raises ConfigurationError."""
    preflight.check_mounts()
    _, options = _state_and_options(request)
    preflight.check_privilege(workers=options.workers if options.services else 0)


def _follow(process: subprocess.Popen[bytes], data: DataDir, log: Path) -> int:
    deadline = time.monotonic() + DETACH_TIMEOUT_S
    seen = 0
    while True:
        state = read_state(data.state)
        ended = process.poll()
        seen = _show_new(log, seen)
        if ended is not None:
            # The daemon's own words, already shown, say why.
            return ended or 1
        if state is not None and state.supervisor_pid == process.pid and state.phase is Phase.READY:
            _show_new(log, seen)
            return 0
        if time.monotonic() > deadline:
            process.terminate()
            raise ConfigurationError(
                f"The cluster was not ready within {DETACH_TIMEOUT_S:.0f} s. The end of {log}:\n{tail(log)}"
            )
        time.sleep(POLL_S)


def _show_new(log: Path, position: int) -> int:
    with log.open("rb") as file:
        file.seek(position)
        added = file.read()
    sys.stdout.write(added.decode(errors="replace"))
    sys.stdout.flush()
    return position + len(added)


def prepare_data_dir(data: DataDir) -> None:
    """Raises ConfigurationError when the directory cannot be used."""
    os.umask(0o077)
    try:
        data.create()
    except OSError as error:
        raise ConfigurationError(f"The data directory {data.root} cannot be used: {error.strerror or error}.") from error


def already_running(request: UpRequest) -> int:
    """Say so. Asking again for what is there is fine (status 0); asking for something else is not (status 2)."""
    state = read_state(request.data.state) or ClusterState()
    print(
        f"A cluster already runs in {request.data.root}: {state.endpoint} ({state.phase}, supervisor {state.supervisor_pid}). "
        f"Stop it with `{messages.program('lambdad')} down{messages.data_dir_option(request.data)}`, "
        "or name another --data-dir for a second one.",
        file=sys.stderr,
    )
    differs = (
        (request.port is not None and request.port != state.port)
        or (request.workers is not None and request.workers != state.workers)
        or request.auth != state.auth
    )
    return 2 if differs else 0


def ensure_installed(environment: Mapping[str, str]) -> None:
    """Have Kafka's jars and archive, showing the download, unless another Kafka is named. Raises ConfigurationError."""
    if not environment.get(PREFIX + ADDRESSES["kafka"]):
        make_archive(Java.find())


def _state_and_options(request: UpRequest) -> tuple[ClusterState, ClusterOptions]:
    state = read_state(request.data.state) or ClusterState()
    port = request.port if request.port is not None else state.port or DEFAULT_PORT
    workers = request.workers if request.workers is not None else state.workers
    if not 0 <= workers <= WORKERS_MAX:
        raise ConfigurationError(f"--workers is {workers}; it may be 0 to {WORKERS_MAX}.")
    if not 1 <= port <= 65_535:
        raise ConfigurationError(f"--port is {port}; it may be 1 to 65535.")
    state.port, state.workers, state.auth = port, workers, request.auth
    state.endpoint = f"http://{LOOPBACK}:{port}"
    settings = read_settings()
    state.region, state.account_id = settings.region, settings.account_id
    return state, ClusterOptions(port=port, workers=workers, auth=request.auth, services=not request.engines_only)


def read_settings() -> Settings:
    """As the services will read them. Raises ConfigurationError."""
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ConfigurationError(f"The settings in the environment are not right: {problems}.") from error


def _engines(
    data: DataDir, state: ClusterState, options: ClusterOptions, credentials: Credentials
) -> list[Engine | ExternalEngine]:
    """Chooses every port too (the recorded ones where they are still free) and writes them into `state`."""
    taken = {options.port}
    engines: list[Engine | ExternalEngine] = []
    for name in ENGINES:
        if external := external_engine(name, os.environ):
            engines.append(external)
        else:
            if name == "kafka":
                ensure_installed({})
            engines.append(make_engine(name, data.root, credentials, taken, state.ports, fsync=read_settings().queues.fsync))
    if queues := external_engine(QUEUES, os.environ):
        engines.append(queues)
    for name in services.names(options):
        state.ports[name] = choose(taken, state.ports.get(name))
    return engines


def _refuse_open_no_auth(options: ClusterOptions) -> None:
    host = os.environ.get("LAMBDAD_FRONTEND__HOST", LOOPBACK)
    if not options.auth and preflight.listening_elsewhere(host):
        raise ConfigurationError(f"--no-auth is for the loopback interface alone, but LAMBDAD_FRONTEND__HOST is {host}.")


def _rotate_old_logs(data: DataDir) -> None:
    for path in data.logs.glob("*.log"):
        if path != data.log("supervisor"):
            rotate(path)


def _say(line: str) -> None:
    print(line, flush=True)
