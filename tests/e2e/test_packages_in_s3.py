"""A cluster that keeps its packages in S3, and takes code from there: a real S3 server, workers that fetch from it."""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from deploy.local.layout import DataDir
from deploy.local.ports import choose
from deploy.local.status import environment
from tests.conftest import CLUSTER_START_TIMEOUT_S, CLUSTER_STOP_TIMEOUT_S, lambdad
from tests.integration.registry.s3_server import client_of, s3_server
from tests.support import PYTHON, ROLE, zip_of


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    folder = Path(tempfile.mkdtemp(prefix="lambdad-test-s3-"))
    try:
        with s3_server(folder) as url:
            yield client_of(url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def client(s3: Any) -> Iterator[Any]:
    """Of a cluster of its own, told by settings where S3 is."""
    for bucket in ("packages", "code"):
        s3.create_bucket(Bucket=bucket)
    root = Path(tempfile.mkdtemp(prefix="lambdad-test-cluster-"))
    data_dir = ["--data-dir", str(root / "data")]
    with pytest.MonkeyPatch.context() as shell:
        shell.setenv("LAMBDAD_S3__ENDPOINT_URL", s3.meta.endpoint_url)
        shell.setenv("LAMBDAD_S3__ACCESS_KEY_ID", "an-access-key")
        shell.setenv("LAMBDAD_S3__SECRET_ACCESS_KEY", "a-secret")
        shell.setenv("LAMBDAD_REGISTRY__PACKAGE_STORE_URL", "s3://packages/of-this-cluster")
        try:
            up = lambdad("up", "--detach", "--port", str(choose(set())), *data_dir, timeout_s=CLUSTER_START_TIMEOUT_S)
            assert up.returncode == 0, f"the cluster did not start:\n{up.stdout}{up.stderr}"
            given = environment(DataDir.at(root / "data"))
            yield boto3.client(
                "lambda",
                endpoint_url=given["AWS_ENDPOINT_URL"],
                region_name="us-east-1",
                aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
                config=Config(retries={"total_max_attempts": 1}, read_timeout=60, connect_timeout=5),
            )
        finally:
            lambdad("down", *data_dir, timeout_s=CLUSTER_STOP_TIMEOUT_S)
            shutil.rmtree(root, ignore_errors=True)


@pytest.mark.timeout(300)
def test_a_function_and_its_layer_come_from_s3_live_in_s3_and_run(client: Any, s3: Any) -> None:
    package = zip_of({"app.py": "import shared_code\ndef handler(event, context):\n    return shared_code.NAME\n"})
    s3.put_object(Bucket="code", Key="app/v1.zip", Body=package)
    s3.put_object(Bucket="code", Key="layer.zip", Body=zip_of({"python/shared_code.py": "NAME = 'out of S3'\n"}))
    layer = client.publish_layer_version(LayerName="from-s3", Content={"S3Bucket": "code", "S3Key": "layer.zip"})
    client.create_function(
        FunctionName="from-s3",
        Runtime=PYTHON,
        Handler="app.handler",
        Role=ROLE,
        Code={"S3Bucket": "code", "S3Key": "app/v1.zip"},
        Layers=[layer["LayerVersionArn"]],
    )
    client.get_waiter("function_active_v2").wait(FunctionName="from-s3", WaiterConfig={"Delay": 1})
    s3.delete_object(Bucket="code", Key="app/v1.zip")
    reply = client.invoke(FunctionName="from-s3", Payload=b"{}")
    assert json.loads(reply["Payload"].read()) == "out of S3"
    with urllib.request.urlopen(client.get_function(FunctionName="from-s3")["Code"]["Location"], timeout=20) as answer:
        assert answer.read() == package
    stored = s3.list_objects_v2(Bucket="packages")["Contents"]
    assert len(stored) == 2
    assert all(one["Key"].startswith("of-this-cluster/") for one in stored)
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="S3 Error Code: NoSuchKey"):
        client.update_function_code(FunctionName="from-s3", S3Bucket="code", S3Key="app/v1.zip")
