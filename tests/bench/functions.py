"""The functions that every peer runs: one answers its event, the other has imported the SDK first."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

from tests.bench.processes import PeerError
from tests.java import packages as java
from tests.support import zip_of

PAYLOAD = b'{"message": "hello", "numbers": [1, 2, 3]}'
MEMORY_MB = 1_769
"""One whole vCPU: below it the quota would be measured instead of the platform."""
IDLE_MEMORY_MB = 128
"""Of functions that are only there: a worker's memory is shared out by what functions may have."""

PYTHON = "def handler(event, context):\n    return event\n"
PYTHON_BOTO3 = "import boto3\n\n\ndef handler(event, context):\n    return event\n"
PYTHON_BATCH = "def handler(event, context):\n    return None\n"
NODE = "exports.handler = async (event) => event;\n"

RUBY = "def handler(event:, context:) = event\n"

SOURCES = {
    "python": PYTHON,
    "ruby": RUBY,
    "boto3": PYTHON_BOTO3,
    "node": NODE,
    "batch": PYTHON_BATCH,
    "large": PYTHON,
    "idle": PYTHON,
}
LARGE_FILES, LARGE_FILE_BYTES = 40, 1_250_000
COMPILE_TIMEOUT_S = 60.0
HANDLERS = {"java": "example.Echo"}
_PROGRAM = Path(__file__).with_name("bootstrap.c")


def package(kind: str) -> bytes:
    """Of which there is no second one like it."""
    if kind == "provided":
        return zip_of({"bootstrap": program(), "note": uuid.uuid4().hex})
    if kind == "java":
        return zip_of({**java.class_of("example.Echo"), "note": uuid.uuid4().hex})
    file, comment = {"node": ("index.js", "//"), "ruby": ("index.rb", "#")}.get(kind, ("index.py", "#"))
    files: dict[str, str | bytes] = {file: f"{SOURCES[kind]}{comment} {uuid.uuid4().hex}\n"}
    if kind == "large":
        files |= large_files()
    return zip_of(files)


@functools.cache
def large_files() -> dict[str, bytes]:
    """What no zip makes smaller."""
    return {f"data/{number}": os.urandom(LARGE_FILE_BYTES) for number in range(LARGE_FILES)}


@functools.cache
def program() -> bytes:
    """A custom runtime that answers its event. Raises PeerError where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise PeerError("there is no C compiler (cc) to make a program with")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "bootstrap")
        command = [compiler, "-O2", "-static", "-o", str(target), str(_PROGRAM)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise PeerError(f"{_PROGRAM.name} was not compiled: {done.stderr[-500:]}")
        return target.read_bytes()
