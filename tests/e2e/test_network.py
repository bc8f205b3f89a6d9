"""Functions call their own cluster, through the running one."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.conftest import MakeFunction

CALLS_ANOTHER = """
import boto3, json
client = boto3.client("lambda")
def handler(event, context):
    answer = client.invoke(FunctionName=event["name"], Payload=json.dumps({"from": context.function_name}))
    identity = boto3.client("sts").get_caller_identity()
    return [client.meta.endpoint_url, json.loads(answer["Payload"].read()), identity["Arn"]]
"""
CALLS_A_URL = """
import json, urllib.request
def handler(event, context):
    with urllib.request.urlopen(event["url"], timeout=10) as answer:
        return json.load(answer)
"""
ECHO = "def handler(event, context): return event"
ECHO_REQUEST = "def handler(event, context): return [event['rawPath'], event['requestContext']['domainName']]"


def test_boto3_inside_a_function_calls_its_own_cluster_unchanged(client: Any, make_function: MakeFunction) -> None:
    echo, caller = make_function(ECHO), make_function(CALLS_ANOTHER, Timeout=20)
    endpoint, answer, who = invoke(client, caller, {"name": echo})
    assert endpoint == "http://169.254.100.2:9000"
    assert answer == {"from": caller}
    assert who.endswith(f"/{caller}")


def test_a_function_calls_a_function_url_by_its_name(client: Any, make_function: MakeFunction) -> None:
    target, caller = make_function(ECHO_REQUEST), make_function(CALLS_A_URL, Timeout=20)
    url = client.create_function_url_config(FunctionName=target, AuthType="NONE")["FunctionUrl"]
    for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
        more = {"FunctionUrlAuthType": "NONE"} if action == "lambda:InvokeFunctionUrl" else {"InvokedViaFunctionUrl": True}
        client.add_permission(FunctionName=target, StatementId=action.split(":")[1], Action=action, Principal="*", **more)
    assert invoke(client, caller, {"url": url + "some/path"}) == ["/some/path", url.split("/")[2].partition(":")[0]]


def test_a_version_keeps_the_network_that_it_was_published_with(client: Any, make_function: MakeFunction) -> None:
    echo = make_function(ECHO)
    caller = make_function(CALLS_ANOTHER, Timeout=20, Environment={"Variables": {"LAMBDAD_NETWORK": "none"}})
    version = client.publish_version(FunctionName=caller)["Version"]
    client.update_function_configuration(FunctionName=caller, Environment={"Variables": {}})
    client.get_waiter("function_updated_v2").wait(FunctionName=caller, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert invoke(client, caller, {"name": echo})[1] == {"from": caller}
    answer = client.invoke(FunctionName=caller, Qualifier=version, Payload=json.dumps({"name": echo}))
    error = json.loads(answer["Payload"].read())
    assert error["errorType"] in ("EndpointConnectionError", "Sandbox.Timedout"), error


def invoke(client: Any, name: str, event: object) -> Any:
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload
