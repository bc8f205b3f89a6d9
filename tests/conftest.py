"""What every test area shares: real engines, settings that point at them, and a whole cluster for the end-to-end tests.

Engines start when a test first asks for one, once a session, from the same code that `lambdad up` uses. KAFKA_BOOTSTRAP_SERVERS,
REDIS_URL and DATABASE_URL, when all three are set, name running engines to use instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from deploy.local.credentials import Credentials
from deploy.local.engines.starting import make_engine, running
from deploy.local.layout import CHECKOUT, DataDir
from deploy.local.ports import choose
from deploy.local.proxies import exemption
from deploy.local.status import environment as variables_of
from shared.settings import Settings
from shared.settings.kafka import KafkaCluster
from tests.needs import list_missed, skip_where_missing
from tests.support import wait_until

GIVEN = {"kafka": "KAFKA_BOOTSTRAP_SERVERS", "redis": "REDIS_URL", "postgres": "DATABASE_URL"}
CLUSTER_START_TIMEOUT_S = 150.0
CLUSTER_STOP_TIMEOUT_S = 90.0
READY_S = 60.0
"""What ended again and again is started again after half a minute at most."""
CLUSTER_SECRET = "test-cluster-secret"

StartEngine = Callable[[str], dict[str, str]]


def pytest_configure() -> None:
    os.environ.update(exemption(os.environ))
    # However this run ends, the clusters that it started end with it.
    os.environ["LAMBDAD_ENDS_WITH"] = str(os.getpid())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    skip_where_missing(item)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    list_missed(report)


@dataclass(frozen=True)
class Engines:
    """Addresses of the three engines as the services take them."""

    kafka: KafkaCluster
    redis_url: str
    database_url: str


@pytest.fixture(scope="session")
def engine_root() -> Iterator[Path]:
    """A directory that every user may enter (Postgres runs as another user when the tests run as root)."""
    root = Path(tempfile.mkdtemp(prefix="lambdad-test-engines-"))
    root.chmod(0o711)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def start_engine(engine_root: Path) -> Iterator[StartEngine]:
    """Start one engine by name, once a session, and give the variables that tell of it."""
    given = {name: {variable: os.environ[variable]} for name, variable in GIVEN.items() if os.environ.get(variable)}
    started = given if len(given) == len(GIVEN) else {}
    if started:
        started["kafka"] = KafkaCluster.of_variables(os.environ).variables()
    credentials, taken = Credentials.new(), set[int]()
    with ExitStack() as stack:

        def start(name: str) -> dict[str, str]:
            if name not in started:
                engine = make_engine(name, engine_root, credentials, taken)
                started[name] = stack.enter_context(running(engine, engine_root / "logs" / f"{name}.log")).variables
            return started[name]

        yield start


@pytest.fixture(scope="session")
def redis_engine(start_engine: StartEngine) -> str:
    """URL of a Redis (with a password in it)."""
    return start_engine("redis")["REDIS_URL"]


@pytest.fixture(scope="session")
def postgres_engine(start_engine: StartEngine) -> str:
    """URL of a Postgres database that is empty at first."""
    return start_engine("postgres")["DATABASE_URL"]


@pytest.fixture(scope="session")
def kafka_engine(start_engine: StartEngine) -> KafkaCluster:
    """A Kafka (with the password that it wants)."""
    return KafkaCluster.of_variables(start_engine("kafka"))


@pytest.fixture(scope="session")
def engines(kafka_engine: KafkaCluster, redis_engine: str, postgres_engine: str) -> Engines:
    """All three. An area that needs one alone asks for that one and saves the others' start."""
    return Engines(kafka_engine, redis_engine, postgres_engine)


@pytest.fixture(scope="session")
def settings(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings that point at the session's engines."""
    return settings_for(engines, tmp_path_factory.mktemp("lambdad-data"))


@dataclass(frozen=True)
class Cluster:
    """A whole running cluster. environment: what `lambdad env` prints, for clients and subprocesses."""

    data_dir: Path
    environment: dict[str, str]

    @property
    def endpoint(self) -> str:
        return self.environment["AWS_ENDPOINT_URL"]

    @property
    def kafka(self) -> KafkaCluster:
        return KafkaCluster.of_variables(self.environment)

    @property
    def access_key_id(self) -> str:
        return self.environment["AWS_ACCESS_KEY_ID"]

    @property
    def secret_access_key(self) -> str:
        return self.environment["AWS_SECRET_ACCESS_KEY"]

    def client(self, service: str) -> Any:
        """boto3's, without retries of its own, so that what the cluster answers is what a test sees."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=60, connect_timeout=5, max_pool_connections=50),
        )

    def children(self) -> dict[str, dict[str, Any]]:
        """Every service and engine as `lambdad status --json` shows it, by name: one that is started anew has no pid and no port."""
        return {child["name"]: child for child in json.loads(self.run("status", "--json").stdout)["cluster"]["children"]}

    def ready(self, *names: str) -> dict[str, dict[str, Any]]:
        """Like `children`, once these are ready; all of them when none is named."""

        def found() -> dict[str, dict[str, Any]] | None:
            children = self.children()
            rest = [children[name]["state"] in ("ready", "external") for name in names or children]
            return children if all(rest) else None

        children = wait_until(found, deadline_s=READY_S, poll_s=0.3, what=f"{', '.join(names) or 'everything'} is ready")
        assert children is not None
        return children

    def run(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """`lambdad ARGUMENTS --data-dir <this cluster's>`."""
        return lambdad(*arguments, "--data-dir", str(self.data_dir), timeout_s=timeout_s)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that the end-to-end tests share: `lambdad up --detach`, its own engines unless they are given by URL."""
    with running_cluster() as found:
        yield found


@contextlib.contextmanager
def running_cluster(
    *options: str, prepare: Callable[[Path], None] = lambda data_dir: None, environment: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """A cluster of its own, started with more options. prepare: what is done to its data directory before. environment: more
    variables for it alone."""
    root = Path(tempfile.mkdtemp(prefix="lambdad-test-cluster-"))
    data_dir = root / "data"
    try:
        prepare(data_dir)
        up = lambdad(
            "up",
            "--detach",
            "--port",
            str(choose(set())),
            "--data-dir",
            str(data_dir),
            *options,
            timeout_s=CLUSTER_START_TIMEOUT_S,
            environment=environment,
        )
        assert up.returncode == 0, f"the cluster did not start:\n{up.stdout}{up.stderr}"
        yield Cluster(data_dir, variables_of(DataDir.at(data_dir)))
    finally:
        lambdad("down", "--data-dir", str(data_dir), timeout_s=CLUSTER_STOP_TIMEOUT_S)
        shutil.rmtree(root, ignore_errors=True)


def lambdad(
    *arguments: str, timeout_s: float = 60.0, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command line, as a person calls it. environment: more variables."""
    argv, variables = [sys.executable, "-m", "deploy.local.cli", *arguments], {**os.environ, **(environment or {})}
    return subprocess.run(argv, cwd=CHECKOUT, env=variables, capture_output=True, text=True, timeout=timeout_s, check=False)


def settings_for(engines: Engines, data_dir: Path) -> Settings:
    return Settings.model_validate(
        {
            "data_dir": data_dir,
            "cluster_secret": CLUSTER_SECRET,
            **engines.kafka.variables(),
            "redis_url": engines.redis_url,
            "database_url": engines.database_url,
        }
    )
