"""What a function finds in its environment signs requests to the cluster that runs it."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.conftest import Cluster
from tests.e2e.conftest import MakeFunction

TELL = """
import os

def handler(event, context):
    return [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
"""


def client_with(cluster: Cluster, key: str, secret: str, token: str | None) -> Any:
    return boto3.session.Session().client(
        "lambda",
        endpoint_url=cluster.endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_a_functions_credentials_are_good_for_the_cluster(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    name = make_function(TELL)
    key, secret, token = json.load(client.invoke(FunctionName=name)["Payload"])
    found = client_with(cluster, key, secret, token).get_function(FunctionName=name)
    assert found["Configuration"]["FunctionName"] == name
    for wrong in ((key, secret, None), (key, secret[:-1] + "_", token), (cluster.access_key_id, secret, token)):
        with pytest.raises(ClientError) as raised:
            client_with(cluster, *wrong).get_function(FunctionName=name)
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
