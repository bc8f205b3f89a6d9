#!/usr/bin/env python3
"""What the containers of docker-compose.yml start: secrets, engines, services, health checks. Standard library only.

    container.py secrets                 make the secrets that do not exist yet, then end
    container.py postgres|redis|kafka    become that engine
    container.py serve SERVICE           become that service
    container.py healthy [ENGINE]        exit 0 when this container's service (or engine) is ready
    container.py redis-cli ARGUMENT...   redis-cli with the password
    container.py env                     print the `export` lines for a client on the host

A secret is a file in a volume of its own, so that a container holds only those that it needs; none is in an image. Each may be
given as an environment variable of the container instead. depends_on conditions are not relied on: everything waits by itself.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NoReturn

SECRETS = Path(os.environ.get("SECRETS_DIR", "/run/lambdad-secrets"))
DATA = Path("/var/lib/lambdad")
KAFKA_HOME = "/opt/kafka"
KAFKA_USER = "lambdad"
SECRET_WAIT_S = 60.0
ENGINE_WAIT_S = 120.0
PROBE_TIMEOUT_S = 2.0
HEALTH_PORT = 9100

CLUSTER_SECRET = "cluster/cluster_secret"
REDIS_PASSWORD = "cluster/redis_password"
KAFKA_PASSWORD = "cluster/kafka_password"
DATABASE_PASSWORD = "database/password"
ACCESS_KEY_ID = "root/access_key_id"
SECRET_ACCESS_KEY = "root/secret_access_key"

ROOT_KEY = {
    ACCESS_KEY_ID: "LAMBDAD_FRONTEND__ROOT_ACCESS_KEY_ID",
    SECRET_ACCESS_KEY: "LAMBDAD_FRONTEND__ROOT_SECRET_ACCESS_KEY",
}

ENGINE_PORTS = {"postgres": 5432, "redis": 6379, "kafka": 9092}
NEEDS_ROOT_KEY = {"frontend"}
NEEDS_NO_DATABASE = {"worker"}


def make_secrets() -> int:
    made = {
        CLUSTER_SECRET: secrets.token_urlsafe(32),
        REDIS_PASSWORD: secrets.token_urlsafe(24),
        KAFKA_PASSWORD: secrets.token_urlsafe(24),
        DATABASE_PASSWORD: secrets.token_urlsafe(24),
        ACCESS_KEY_ID: "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16)),
        SECRET_ACCESS_KEY: secrets.token_urlsafe(30),
    }
    for name, value in made.items():
        path = SECRETS / name
        if path.exists():
            continue
        # Written aside and renamed: a reader that waits for the file never sees half of it.
        unfinished = path.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440), "w") as file:
            file.write(value)
        unfinished.rename(path)
        print(f"made {name}", flush=True)
    return 0


def secret(name: str, variable: str) -> str:
    """The secret as the operator's environment gives it, else from its file, waiting until the init container made it."""
    if given := os.environ.get(variable):
        return given
    path = SECRETS / name
    deadline = time.monotonic() + SECRET_WAIT_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"{path} did not appear within {SECRET_WAIT_S:.0f} s: does the `secrets` service run?")
        time.sleep(0.1)
    return path.read_text()


def become(*command: str) -> NoReturn:
    sys.stdout.flush()
    os.execvp(command[0], command)


def postgres() -> NoReturn:
    binaries = next(Path("/usr/lib/postgresql").iterdir()) / "bin"
    cluster = DATA / "pgdata"
    if not cluster.exists():
        _make_database_cluster(binaries, cluster)
    become(str(binaries / "postgres"), "-D", str(cluster), "-c", "listen_addresses=*", "-c", "unix_socket_directories=/tmp")


def _make_database_cluster(binaries: Path, cluster: Path) -> None:
    # Made aside and renamed: a first start that was interrupted begins again instead of using half a cluster.
    unfinished = cluster.with_name("pgdata.new")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    with tempfile.NamedTemporaryFile("w") as password:
        password.write(secret(DATABASE_PASSWORD, "DATABASE_PASSWORD"))
        password.flush()
        initdb = [str(binaries / "initdb"), "-D", str(unfinished), "-U", "lambdad", f"--pwfile={password.name}"]
        subprocess.run([*initdb, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"], check=True)
    with (unfinished / "pg_hba.conf").open("a") as file:
        file.write("host all all all scram-sha-256\n")
    single_user = [str(binaries / "postgres"), "--single", "-D", str(unfinished), "postgres"]
    subprocess.run(single_user, input="CREATE DATABASE lambdad\n", text=True, check=True, stdout=subprocess.DEVNULL)
    unfinished.rename(cluster)


def redis() -> NoReturn:
    # In a file and not on the command line, which every process of the container can read.
    configuration = Path("/tmp/redis.conf")
    lines = (
        "bind * -::*",
        "maxclients 4000",
        f"dir {DATA}",
        "appendonly yes",
        # As deploy/local/engines/redis.py says.
        f"appendfsync {_fsync()}",
        # The append-only file is the persistence; snapshots beside it would only cost.
        'save ""',
        f"requirepass {secret(REDIS_PASSWORD, 'REDIS_PASSWORD')}",
        # As in the embedded stack (deploy/local/engines/redis.py, OPTIONS): leases are looked up faster.
        "hash-max-listpack-entries 16",
        "zset-max-listpack-entries 16",
    )
    configuration.write_text("\n".join(lines) + "\n")
    become("redis-server", str(configuration))


def _fsync() -> str:
    policy = os.environ.get("LAMBDAD_QUEUES__FSYNC") or "no"
    if policy not in ("no", "everysec", "always"):
        sys.exit(f"LAMBDAD_QUEUES__FSYNC is {policy}; it may be no, everysec or always.")
    return policy


def kafka() -> NoReturn:
    java = (
        "java",
        f"-Xmx{os.environ.get('KAFKA_HEAP_MB', '512')}m",
        "-XX:+ExitOnOutOfMemoryError",
        "-cp",
        f"{KAFKA_HOME}/jars/*",
    )
    storage_tool = (*java, "kafka.tools.StorageTool")
    configuration = str(_kafka_configuration())
    if not (DATA / "meta.properties").exists():
        identity = subprocess.run([*storage_tool, "random-uuid"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[
            -1
        ]
        subprocess.run([*storage_tool, "format", "-t", identity, "-c", configuration], check=True)
    become(*java, f"-Dlog4j2.configurationFile={KAFKA_HOME}/log4j2.properties", "kafka.Kafka", configuration)


def _kafka_configuration() -> Path:
    """The image's, and who may connect. PLAIN is checked against this file alone: data of before needs nothing new."""
    password = secret(KAFKA_PASSWORD, "KAFKA_PASSWORD")
    module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    jaas = f'{module} username="{KAFKA_USER}" password="{password}" user_{KAFKA_USER}="{password}";'
    lines = [f"listener.name.{listener}.plain.sasl.jaas.config={jaas}" for listener in ("clients", "controller")]
    configuration = Path("/tmp/server.properties")
    configuration.touch(mode=0o600)
    configuration.write_text(Path(f"{KAFKA_HOME}/server.properties").read_text() + "\n".join(lines) + "\n")
    return configuration


def serve(service: str) -> NoReturn:
    environment = os.environ
    environment["LAMBDAD_CLUSTER_SECRET"] = secret(CLUSTER_SECRET, "LAMBDAD_CLUSTER_SECRET")
    if not environment.get("REDIS_URL"):
        environment["REDIS_URL"] = f"redis://:{secret(REDIS_PASSWORD, 'REDIS_PASSWORD')}@redis:6379/0"
        wait_for_engine("redis")
    if not environment.get("DATABASE_URL") and service not in NEEDS_NO_DATABASE:
        password = secret(DATABASE_PASSWORD, "DATABASE_PASSWORD")
        environment["DATABASE_URL"] = f"postgresql://lambdad:{password}@postgres:5432/lambdad"
        wait_for_engine("postgres")
    if not environment.get("KAFKA_BOOTSTRAP_SERVERS"):
        environment["KAFKA_BOOTSTRAP_SERVERS"] = "kafka:9092"
        environment["KAFKA_SECURITY_PROTOCOL"] = "SASL_PLAINTEXT"
        environment["KAFKA_SASL_MECHANISM"] = "PLAIN"
        environment["KAFKA_SASL_USERNAME"] = KAFKA_USER
        environment["KAFKA_SASL_PASSWORD"] = secret(KAFKA_PASSWORD, "KAFKA_PASSWORD")
        wait_for_engine("kafka")
    if service in NEEDS_ROOT_KEY:
        for name, variable in ROOT_KEY.items():
            environment[variable] = secret(name, variable)
    if service == "worker":
        make_cgroups_writable()
        # Its own address and not the service's name, which several workers share.
        environment.setdefault("LAMBDAD_WORKER__ADVERTISED_HOST", socket.gethostbyname(socket.gethostname()))
    environment.setdefault("LAMBDAD_TELEMETRY__PORT", str(HEALTH_PORT))
    become("lambdad", "serve", service)


def make_cgroups_writable() -> None:
    """Container engines mount the container's own cgroups read-only; the worker makes one below them for each sandbox."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] in ("cgroup", "cgroup2"):
            mount_point, options = before.split()[4:6]
            writable = ",".join(option for option in options.split(",") if option not in ("ro", "rw"))
            subprocess.run(["mount", "-o", f"remount,bind,rw,{writable}", mount_point], check=True)


def wait_for_engine(name: str) -> None:
    deadline = time.monotonic() + ENGINE_WAIT_S
    while (problem := port_problem(name, ENGINE_PORTS[name])) is not None:
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} did not answer within {ENGINE_WAIT_S:.0f} s: {problem}")
        time.sleep(0.25)


def port_problem(host: str, port: int) -> str | None:
    try:
        socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S).close()
    except OSError as error:
        return str(error)
    return None


def healthy(name: str | None) -> int:
    problem = port_problem("127.0.0.1", ENGINE_PORTS[name]) if name in ENGINE_PORTS else _service_problem()
    if problem is not None:
        print(problem)
    return 0 if problem is None else 1


def _service_problem() -> str | None:
    # A frontend shows its health on the endpoint itself.
    endpoint = os.environ.get("LAMBDAD_FRONTEND__PORT")
    where = f"{endpoint}/_lambdad" if endpoint else os.environ.get("LAMBDAD_TELEMETRY__PORT", str(HEALTH_PORT))
    try:
        # Engines put the host's proxy into every container; what runs beside us is not behind it.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{where}/ready", timeout=PROBE_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        return error.read(4096).decode(errors="replace")
    except OSError as error:
        return str(error)


def print_client_environment() -> int:
    region = os.environ.get("LAMBDAD_REGION") or "us-east-1"
    endpoint = f"http://127.0.0.1:{os.environ.get('PUBLISHED_PORT', '9000')}"
    print(f"export AWS_ENDPOINT_URL={endpoint}")
    print(f"export LAMBDAD_FUNCTION_URLS={endpoint}/_lambdad/urls")
    print(f"export AWS_REGION={region} AWS_DEFAULT_REGION={region}")
    print(f"export AWS_ACCESS_KEY_ID={secret(ACCESS_KEY_ID, ROOT_KEY[ACCESS_KEY_ID])}")
    print(f"export AWS_SECRET_ACCESS_KEY={secret(SECRET_ACCESS_KEY, ROOT_KEY[SECRET_ACCESS_KEY])}")
    return 0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["secrets"]:
            return make_secrets()
        case ["postgres"]:
            postgres()
        case ["redis"]:
            redis()
        case ["kafka"]:
            kafka()
        case ["serve", service]:
            serve(service)
        case ["healthy"]:
            return healthy(None)
        case ["healthy", name]:
            return healthy(name)
        case ["redis-cli", *rest]:
            os.environ["REDISCLI_AUTH"] = secret(REDIS_PASSWORD, "REDIS_PASSWORD")
            become("redis-cli", *rest)
        case ["env"]:
            return print_client_environment()
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
