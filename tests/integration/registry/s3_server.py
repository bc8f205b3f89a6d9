"""A real S3 server as a process of its own on loopback, for the tests that need one."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.support import mortal, wait_until

START_S = 30.0
STOP_S = 10.0


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Address of an empty S3 server that ends with the block; its log is in the folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "s3.log").open("wb") as log:
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(argv, stdout=log, stderr=log, preexec_fn=mortal())
    try:

        def answers() -> bool:
            assert process.poll() is None, (folder / "s3.log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
            return False

        wait_until(answers, deadline_s=START_S, what="the S3 server answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


def client_of(endpoint: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="an-access-key",
        aws_secret_access_key="a-secret",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=20, connect_timeout=5),
    )
