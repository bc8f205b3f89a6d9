"""What is made once a machine so that Kafka starts in a third of the time: the JVM's archive of a short run of it.

The archive is the JVM's own (classes loaded, linked and profiled ahead of time); it is tied to the runtime, the flags and the
exact jars, so its name carries their digest. A JVM that does not like it ignores it.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from deploy.local.engines.java import Java, bootstrap_checkpoint, only_one, publish
from deploy.local.engines.kafka import KafkaEngine
from deploy.local.launch import launch
from deploy.local.ports import choose

TRAINING_START_TIMEOUT_S = 60.0
TRAINING_STOP_TIMEOUT_S = 120.0


def make_archive(java: Java) -> Path | None:
    """Make the archive by a short run of Kafka unless it is there (15-30 s). None when this JVM cannot; that is no error."""
    bootstrap_checkpoint(java)
    path = java.home / "kafka.aot"
    with only_one(java):
        if not path.exists():
            print("Apache Kafka: training its start-up archive (once, about 20 s)", file=sys.stderr, flush=True)
            started = time.monotonic()
            if not _train(java, path):
                print("  not made; Kafka will start without it, in about 5 s", file=sys.stderr)
                return None
            print(f"  made in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return path


def _train(java: Java, path: Path) -> bool:
    with tempfile.TemporaryDirectory(prefix="lambdad-train-") as scratch:
        home = Path(scratch)
        taken: set[int] = set()
        engine = KafkaEngine(home, home / "log", choose(taken), choose(taken), secrets.token_hex(16))
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
        publish(output, path)
        return True
