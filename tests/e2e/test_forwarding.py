"""A cluster that forwards S3: the AWS CLI and boto3, with the one endpoint that they know, reach what stands behind it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import Cluster, lambdad, running_cluster
from tests.e2e.test_aws_cli import AWS


@pytest.fixture(scope="module")
def forwarding() -> Iterator[Cluster]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    try:
        with running_cluster("--forward", f"s3=http://{host}:{port}", "--forward", f"dynamodb=http://{host}:{port}") as found:
            yield found
    finally:
        moto.stop()


def client(cluster: Cluster, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=cluster.endpoint,
        region_name="us-east-1",
        aws_access_key_id=cluster.access_key_id,
        aws_secret_access_key=cluster.secret_access_key,
    )


@pytest.mark.skipif(AWS is None, reason="needs the AWS CLI on PATH: pip install awscli")
def test_the_cli_copies_a_file_there_and_back(forwarding: Cluster, tmp_path: Path) -> None:
    content = os.urandom(20_000_000)
    (tmp_path / "up").write_bytes(content)
    environment = {**os.environ, **forwarding.environment, "HOME": str(tmp_path), "AWS_PAGER": ""}
    for words in (
        ["mb", "s3://files"],
        ["cp", "up", "s3://files/a folder/b.bin"],
        ["cp", "s3://files/a folder/b.bin", "down"],
    ):
        done = subprocess.run(
            [str(AWS), "s3", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "down").read_bytes() == content


def test_what_is_served_stays_here_and_what_is_named_goes_there(forwarding: Cluster) -> None:
    assert client(forwarding, "sts").get_caller_identity()["Account"] == "000000000000"
    assert client(forwarding, "lambda").list_functions()["Functions"] == []
    assert client(forwarding, "dynamodb").list_tables()["TableNames"] == []
    with pytest.raises(client(forwarding, "ssm").exceptions.ClientError, match="LAMBDAD_FORWARD__SSM"):
        client(forwarding, "ssm").describe_parameters()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("s3", "--forward SERVICE=URL"),
        ("s3=nonsense", "LAMBDAD_FORWARD__S3"),
        ("lambda=http://a", "Lambda is what is served here"),
    ],
)
def test_a_forward_that_cannot_work_starts_nothing(given: str, complaint: str, tmp_path: Path) -> None:
    done = lambdad("up", "--forward", given, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not (tmp_path / "data").exists()
