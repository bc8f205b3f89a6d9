"""Two hosts of one cluster: network namespaces with a cable between them. One has the engines and every service, the other a worker.

Started as an operator would: engines that listen on the network, `lambdad up` on the first host, `lambdad serve worker` on the second.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import boto3
import redis
from botocore.config import Config

from deploy.local.credentials import load
from deploy.local.engines.kafka import KafkaEngine
from deploy.local.engines.redis import RedisEngine
from deploy.local.layout import CHECKOUT, RUNTIMES, DataDir
from deploy.local.state import read_state
from deploy.local.status import environment
from tests.certificates import Authority
from tests.support import PYTHON, mortal, wait_until

T = TypeVar("T")
FIRST, SECOND = "198.18.77.1", "198.18.77.2"
HEALTH_PORT = 9101
"""Of the second host's worker."""
WORKER = "second-host"
START_TIMEOUT_S = 150.0
CLONE_NEWNET = 0x4000_0000
_libc = ctypes.CDLL(None, use_errno=True)


class Hosts:
    """first, second: names of the namespaces. data_dir: of the first host's cluster."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data_dir = root / "first"
        mark = f"{os.getpid()}-{secrets.token_hex(2)}"
        self.first, self.second = f"lambdad-{mark}-1", f"lambdad-{mark}-2"
        self._authority = Authority(root / "certificates")
        self._threads = ThreadPoolExecutor(32, initializer=self._enter, initargs=(self.first,))
        self._threads_of_second = ThreadPoolExecutor(1, initializer=self._enter, initargs=(self.second,))
        self.engines: dict[str, str] = {}
        self.worker: subprocess.Popen[bytes] | None = None

    # The network

    def connect(self) -> None:
        for name in (self.first, self.second):
            _ip("netns", "add", name)
        _ip("link", "add", "eth0", "netns", self.first, "type", "veth", "peer", "name", "eth0", "netns", self.second)
        for name, address in ((self.first, FIRST), (self.second, SECOND)):
            _ip("-n", name, "address", "add", f"{address}/30", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", name, "link", "set", link, "up")
            # As docs/networking.md asks of a host: functions then reach what is outside of it.
            _run(*_inside(name), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def disconnect(self) -> None:
        self._threads.shutdown()
        self._threads_of_second.shutdown()
        for name in (self.first, self.second):
            _ip("netns", "delete", name, check=False)

    def on_first(self, call: Callable[[], T]) -> T:
        """What a program on the first host would do."""
        return self._threads.submit(call).result()

    def all_on_first(self, calls: Sequence[Callable[[], object]]) -> None:
        """At the same time."""
        for done in [self._threads.submit(call) for call in calls]:
            done.result()

    def on_second(self, call: Callable[[], T]) -> T:
        return self._threads_of_second.submit(call).result()

    @staticmethod
    def _enter(name: str) -> None:
        with Path(f"/run/netns/{name}").open("rb") as namespace:
            if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    # The first host

    @contextlib.contextmanager
    def engines_run(self) -> Iterator[None]:
        """A Redis and a Kafka that both hosts reach; Postgres is the first host's own business."""
        password = secrets.token_hex(16)
        engines = [
            RedisEngine(self.root / "redis", self.root / "redis.log", 6379, password, FIRST),
            KafkaEngine(self.root / "kafka", self.root / "kafka.log", 9092, 9093, password, FIRST),
        ]
        with contextlib.ExitStack() as stack:
            for engine in engines:
                engine.prepare()
                start = engine.launch()
                child = self._start(
                    self.first, start.argv, dict(os.environ) | dict(start.environment), self.root / f"{engine.name}.out"
                )
                stack.callback(_end, child)
                self.engines |= engine.variables
            for engine in engines:
                wait_until(lambda engine=engine: self.on_first(engine.problem) is None, deadline_s=60, what=engine.name)  # type: ignore[misc]
            yield

    @contextlib.contextmanager
    def cluster_runs(self) -> Iterator[None]:
        """`lambdad up`, its worker reachable from the network as well."""
        given = {f"LAMBDAD_{name}": value for name, value in self.engines.items()}
        reached = {"LAMBDAD_FRONTEND__HOST": "0.0.0.0"}
        self._lambdad("up", "--detach", "--port", "9000", variables=given | reached | self._settings(FIRST))
        try:
            yield
        finally:
            self._lambdad("down", variables={})

    def _lambdad(self, command: str, *options: str, variables: dict[str, str]) -> None:
        argv = [
            *_inside(self.first),
            sys.executable,
            "-m",
            "deploy.local.cli",
            command,
            *options,
            "--data-dir",
            str(self.data_dir),
        ]
        done = subprocess.run(
            argv, cwd=CHECKOUT, env=os.environ | variables, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False
        )
        assert done.returncode == 0, f"lambdad {command}:\n{done.stdout}{done.stderr}"

    def _settings(self, host: str) -> dict[str, str]:
        """What is the same on every host, but for its address and certificate."""
        certificate, key = self._authority.issue(host)
        return {
            "LAMBDAD_WORKER__HOST": host,
            "LAMBDAD_REGISTRY__PACKAGE_STORE_URL": f"file://{self.root}/shared/packages",
            "LAMBDAD_DISPATCH__TLS_CA_FILE": str(self._authority.ca_file),
            "LAMBDAD_DISPATCH__TLS_CERTIFICATE_FILE": str(certificate),
            "LAMBDAD_DISPATCH__TLS_KEY_FILE": str(key),
        }

    # The second host

    def start_worker(self) -> None:
        """`lambdad serve worker`, told by variables; returns when work is placed on it."""
        credentials = load(DataDir.at(self.data_dir).credentials)
        assert credentials is not None
        variables = (
            self.engines
            | self._settings(SECOND)
            | {
                "LAMBDAD_CLUSTER_SECRET": credentials.cluster_secret,
                "LAMBDAD_DATA_DIR": str(self.root / "second"),
                "LAMBDAD_INSTANCE": WORKER,
                "LAMBDAD_NETWORK__ENDPOINT_HOST": FIRST,
                "LAMBDAD_TELEMETRY__PORT": str(HEALTH_PORT),
                "LAMBDAD_WORKER__DRAIN_TIMEOUT_S": "30",
                "LAMBDAD_WORKER__RUNTIME_DIR": str(RUNTIMES),
                "LAMBDAD_WORKER__PRESTART_RUNTIMES": f'["{PYTHON}"]',
            }
        )
        argv = [sys.executable, "-m", "deploy.local.cli", "serve", "worker"]
        self.worker = self._start(self.second, argv, os.environ | variables, self.root / "second.log")
        wait_until(self.has_joined, deadline_s=60, what=f"the second worker to join:\n{self.log_tail()}")

    def has_joined(self) -> bool:
        return bool(self.redis(lambda found: found.hexists("lambdad:{0}:room", WORKER)))

    def address_of_the_first_worker(self) -> tuple[str, int]:
        """Where the first host's takes invocations."""
        records: dict[bytes, bytes] = self.redis(lambda found: found.hgetall("lambdad:{0}:workers"))  # type: ignore[arg-type, return-value]
        host, _, port = (
            next(each for name, each in records.items() if name != WORKER.encode()).decode().split()[0].rpartition(":")
        )
        return host, int(port)

    def postgres_port(self) -> int:
        """Of the first host's loopback address."""
        state = read_state(DataDir.at(self.data_dir).state)
        assert state is not None
        return state.ports["postgres"]

    def environments(self, worker: str) -> int:
        return int(self.redis(lambda found: found.hlen(f"lambdad:{{0}}:envs:{worker}")))

    def redis(self, ask: Callable[[redis.Redis], T]) -> T:
        def call() -> T:
            with redis.Redis.from_url(self.engines["REDIS_URL"]) as client:
                return ask(client)

        return self.on_first(call)

    def stop_worker(self, number: int) -> int:
        """Send a signal and wait for the end; its exit status."""
        assert self.worker is not None
        self.worker.send_signal(number)
        status = self.worker.wait(60)
        self.worker = None
        return status

    def log_tail(self) -> str:
        log = self.root / "second.log"
        return log.read_text(errors="replace")[-2_000:] if log.exists() else ""

    # Clients

    def client(self, service: str) -> object:
        """boto3's, for use in `on_first`."""
        found = environment(DataDir.at(self.data_dir))
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url="http://127.0.0.1:9000",
            region_name="us-east-1",
            aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}, read_timeout=60, connect_timeout=5, max_pool_connections=50),
        )

    def _start(self, namespace: str, argv: object, variables: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*_inside(namespace), *argv],  # type: ignore[misc]
                cwd=CHECKOUT,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=mortal(),
            )


@contextlib.contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Both, with everything running but the second host's worker; nothing of them is left afterwards."""
    root = Path(tempfile.mkdtemp(prefix="lambdad-hosts-"))
    root.chmod(0o711)
    hosts = Hosts(root)
    with contextlib.ExitStack() as stack:
        stack.callback(partial(shutil.rmtree, root, ignore_errors=True))
        stack.callback(hosts.disconnect)
        hosts.connect()
        stack.enter_context(hosts.engines_run())
        stack.enter_context(hosts.cluster_runs())
        stack.callback(lambda: hosts.worker and _end(hosts.worker))
        yield hosts


def _inside(namespace: str) -> list[str]:
    """Not `ip netns exec`, which would hide the cgroups."""
    return ["nsenter", f"--net=/run/netns/{namespace}", "--"]


def _ip(*words: str, check: bool = True) -> None:
    _run("ip", *words, check=check)


def _run(*words: str, check: bool = True) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(20)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(20)
