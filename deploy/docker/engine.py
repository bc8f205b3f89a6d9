"""The container engine that `make test-compose` drives: Docker where it answers, else podman with runc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

BASE_IMAGE = "docker.io/library/debian:bookworm-slim"
DEBIAN_RELEASE = "bookworm"
BUILD_TIMEOUT_S = 900
COMMAND_TIMEOUT_S = 180
PROBE_TIMEOUT_S = 20
LOG_LINES = "40"
PODMAN_PACKAGES = ("podman", "runc", "debootstrap", "netavark", "aardvark-dns", "conmon", "catatonit", "iptables")
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
TARGETS = ("secrets", "postgres", "redis", "kafka", "frontend", "scheduler", "worker", "poller", "router")

Say = Callable[[str], None]


class EngineError(Exception):
    """The engine, or something driven through it, did not do what it was asked."""


class Engine(Protocol):
    def build(self) -> None: ...
    def compose(self, *arguments: str) -> str: ...
    def execute(self, service: str, *command: str) -> str: ...
    def is_healthy(self, service: str) -> bool: ...
    def logs(self) -> str: ...
    def clean(self) -> None: ...


def run(
    command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Standard output. Raises EngineError with the end of what the command said when it fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=environment,
            cwd=cwd,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{' '.join(command[:4])}: {error}") from error
    if done.returncode != 0:
        raise EngineError(f"{' '.join(command[:6])} ended with {done.returncode}: {(done.stderr or done.stdout)[-3000:]}")
    return done.stdout


def find_engine(root: Path, scratch: Path, environment: Mapping[str, str], say: Say) -> Engine:
    """Docker, or podman made ready (installed on Debian, as root). Raises EngineError when neither is to be had."""
    if shutil.which("docker"):
        try:
            run(["docker", "info"], timeout_s=PROBE_TIMEOUT_S)
            run(["docker", "compose", "version"], timeout_s=PROBE_TIMEOUT_S)
        except EngineError:
            say("there is a docker client, but no engine (or no compose) that answers")
        else:
            say("using docker")
            return Docker(root, environment)
    say("using podman with runc")
    return Podman(root, scratch, environment, say)


class Docker:
    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self._root = root
        self._environment = environment

    def build(self) -> None:
        run(["docker", "compose", "build"], timeout_s=BUILD_TIMEOUT_S, environment=self._environment, cwd=self._root)

    def compose(self, *arguments: str) -> str:
        command = ["docker", "compose", *arguments]
        return run(command, timeout_s=COMMAND_TIMEOUT_S, environment=self._environment, cwd=self._root)

    def execute(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command)

    def is_healthy(self, service: str) -> bool:
        container = self.compose("ps", "-q", service).split()[0]
        return run(["docker", "inspect", "-f", "{{.State.Health.Status}}", container], timeout_s=30).strip() == "healthy"

    def logs(self) -> str:
        return self.compose("logs", "--tail", LOG_LINES)

    def clean(self) -> None:
        self.compose("down", "-v", "--remove-orphans")


class Podman:
    """Everything it needs is in files of its own: an engine configuration, podman-compose, a base image."""

    def __init__(self, root: Path, scratch: Path, environment: Mapping[str, str], say: Say) -> None:
        self._root = root
        self._say = say
        self._scratch = scratch
        self._install_packages()
        configuration = scratch / "containers.conf"
        configuration.write_text(_configuration())
        self._environment = {**environment, "CONTAINERS_CONF": str(configuration)}
        self._project = environment["COMPOSE_PROJECT_NAME"]
        self._compose = self._install_compose()

    def _install_packages(self) -> None:
        missing = [name for name in ("podman", "runc", "debootstrap") if shutil.which(name) is None]
        if not missing:
            return
        install = ["apt-get", "install", "-y", "--no-install-recommends", *PODMAN_PACKAGES]
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise EngineError(f"neither a Docker engine nor {', '.join(missing)} is here. On Debian: {' '.join(install)}")
        self._say(f"installing {', '.join(PODMAN_PACKAGES)}")
        run(["apt-get", "update"], timeout_s=300)
        run(install, timeout_s=600, environment={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})

    def _install_compose(self) -> str:
        home = self._scratch / "podman-compose"
        run([sys.executable, "-m", "venv", str(home)], timeout_s=60)
        requirements = str(self._root / "requirements" / "compose.txt")
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", requirements]
        run(pip, timeout_s=300)
        return str(home / "bin" / "podman-compose")

    def _podman(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        return run(["podman", *arguments], timeout_s=timeout_s, environment=self._environment, cwd=self._root)

    def _make_base_image(self) -> None:
        try:
            self._podman("image", "inspect", BASE_IMAGE)
            return
        except EngineError:
            pass
        try:
            self._podman("pull", "-q", BASE_IMAGE, timeout_s=120)
            return
        except EngineError:
            self._say("no image registry answers: making the base image from Debian's packages")
        tree = self._scratch / "debian"
        packages = ["debootstrap", "--variant=minbase", "--include=ca-certificates", DEBIAN_RELEASE, str(tree)]
        run(packages, timeout_s=600)
        # A network that inspects TLS has its certificates here; the build must trust what this machine trusts.
        shutil.copy(Path("/") / CERTIFICATES, tree / CERTIFICATES)
        archive = self._scratch / "debian.tar"
        run(["tar", "-C", str(tree), "--exclude=./var/cache/apt/archives/*.deb", "-cf", str(archive), "."], timeout_s=120)
        self._podman("import", "-q", str(archive), BASE_IMAGE)
        archive.unlink()
        shutil.rmtree(tree)

    def build(self) -> None:
        self._make_base_image()
        for target in TARGETS:
            self._say(f"building {target}")
            options = ["--network", "host", "-f", "deploy/docker/Dockerfile", "--target", target, "-t", f"lambdad/{target}"]
            self._podman("build", "-q", *options, "--build-arg", f"BASE_IMAGE={BASE_IMAGE}", ".", timeout_s=BUILD_TIMEOUT_S)

    def compose(self, *arguments: str) -> str:
        command = [self._compose, "--in-pod", "false", "-p", self._project, *arguments]
        return run(command, timeout_s=COMMAND_TIMEOUT_S, environment=self._environment, cwd=self._root)

    def _container(self, service: str) -> str:
        return f"{self._project}_{service}_1"

    def execute(self, service: str, *command: str) -> str:
        return self._podman("exec", self._container(service), *command)

    def is_healthy(self, service: str) -> bool:
        # Without systemd nothing runs health checks by itself.
        self._podman("healthcheck", "run", self._container(service))
        return True

    def logs(self) -> str:
        listed = json.loads(self._podman("ps", "-a", "--format", "json", "--filter", f"name={self._project}") or "[]")
        parts = []
        for container in listed:
            name = container["Names"][0]
            done = subprocess.run(
                ["podman", "logs", "--tail", LOG_LINES, name], capture_output=True, text=True, timeout=30, check=False
            )
            parts.append(f"--- {name} ({container['State']})\n{done.stdout}{done.stderr}")
        return "\n".join(parts)

    def clean(self) -> None:
        try:
            self.compose("down", "-v")
        except EngineError as error:
            self._say(f"could not clean up: {error}")


def _configuration() -> str:
    """runc and plain cgroups, as there may be no systemd; limits that no container may raise are given to none."""
    return (
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
    )
