"""What a function finds in its environment signs requests to the cluster that runs it."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from services.worker.runtimes.nodejs.family import SDK
from tests.conftest import Cluster
from tests.e2e.conftest import MakeFunction
from tests.support import NODE, ROLE

TELL = """
import os

def handler(event, context):
    return [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
"""


def client_with(cluster: Cluster, key: str, secret: str, token: str | None, service: str = "lambda") -> Any:
    return boto3.session.Session().client(
        service,
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


@pytest.mark.parametrize(("ending", "session"), [("longer", "{name}"), ("", "{name}@lambda_function")])
def test_they_are_a_session_of_the_functions_role(
    cluster: Cluster, client: Any, make_function: MakeFunction, ending: str, session: str
) -> None:
    name = make_function(TELL, FunctionName=f"{random.choice(string.ascii_letters)}{ending}")
    found = json.load(client.invoke(FunctionName=name)["Payload"])
    who = client_with(cluster, *found, service="sts").get_caller_identity()
    assert who["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{ROLE.rpartition('/')[2]}/{session.format(name=name)}"
    assert who["UserId"].endswith(f":{session.format(name=name)}")


CALLS_IN_JAVASCRIPT = """
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
const lambda = new LambdaClient({});
export const handler = async event => {
  const answer = await lambda.send(new InvokeCommand({ FunctionName: event.name, Payload: JSON.stringify({ a: 1 }) }));
  const who = await new STSClient({}).send(new GetCallerIdentityCommand({}));
  return [JSON.parse(Buffer.from(answer.Payload).toString()), who.Arn];
};
"""
ECHO = "def handler(event, context):\n    return event\n"
TELL_ENDPOINT = "import boto3\ndef handler(event, context):\n    return boto3.client('lambda').meta.endpoint_url\n"


@pytest.mark.needs(NODE, SDK)
def test_the_javascript_sdk_inside_a_function_calls_its_own_cluster_unchanged(client: Any, make_function: MakeFunction) -> None:
    caller = make_function(CALLS_IN_JAVASCRIPT, runtime=NODE, Timeout=20, MemorySize=512)
    answer = client.invoke(FunctionName=caller, Payload=json.dumps({"name": make_function(ECHO)}))
    echoed, who = json.load(answer["Payload"])
    assert echoed == {"a": 1}
    assert who == f"arn:aws:sts::000000000000:assumed-role/{ROLE.rpartition('/')[2]}/{caller}"


def test_a_function_that_names_another_endpoint_keeps_it(client: Any, make_function: MakeFunction) -> None:
    own = {"AWS_ENDPOINT_URL": "http://127.0.0.1:7", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:8"}
    name = make_function(TELL_ENDPOINT, Environment={"Variables": own})
    assert json.load(client.invoke(FunctionName=name)["Payload"]) == "http://127.0.0.1:7"
