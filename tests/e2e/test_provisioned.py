"""Provisioned concurrency with boto3: environments are there before they are needed, and what does not fit runs on demand."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.conftest import MakeFunction
from tests.support import wait_until

SOURCE = """
import os, time, uuid
time.sleep(0.3)
environment = uuid.uuid4().hex
def handler(event, context):
    time.sleep(event.get("seconds", 0))
    return [os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], environment, os.environ["AWS_LAMBDA_FUNCTION_VERSION"]]
"""
FAILS_AHEAD = """
import os
if os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency":
    raise RuntimeError("not ahead of time")
def handler(event, context):
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""
AHEAD, ON_DEMAND = "provisioned-concurrency", "on-demand"


def state(client: Any, name: str, qualifier: str) -> dict[str, Any]:
    return client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)


def provision(client: Any, name: str, qualifier: str, count: int) -> None:
    reply = client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert reply["Status"] == "IN_PROGRESS"
    settled(client, name, qualifier)


def settled(client: Any, name: str, qualifier: str) -> None:
    def is_ready() -> bool:
        found = state(client, name, qualifier)
        if found["Status"] == "READY":
            assert found["AllocatedProvisionedConcurrentExecutions"] == found["RequestedProvisionedConcurrentExecutions"]
        return found["Status"] == "READY"

    wait_until(is_ready, deadline_s=30, what=f"{name}:{qualifier} to be READY")


def invoke(client: Any, name: str, qualifier: str, **event: Any) -> Any:
    reply = client.invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event))
    assert "FunctionError" not in reply
    return json.loads(reply["Payload"].read())


def at_once(client: Any, name: str, qualifier: str, count: int) -> list[list[str]]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: invoke(client, name, qualifier, seconds=1), range(count)))


def test_as_many_as_asked_for_are_ready_and_more_run_on_demand(client: Any, make_function: MakeFunction) -> None:
    name = make_function(SOURCE, Publish=True)
    provision(client, name, "1", 3)
    first = client.invoke(FunctionName=name, Qualifier="1", Payload="{}", LogType="Tail")
    assert json.loads(first["Payload"].read())[0] == AHEAD
    report = base64.b64decode(first["LogResult"]).decode()
    assert int(report.partition("Billed Duration: ")[2].partition(" ms")[0]) < 250, "the initialisation is not billed to it"
    ran = at_once(client, name, "1", 5)
    assert sorted(kind for kind, _, _ in ran) == [ON_DEMAND] * 2 + [AHEAD] * 3
    assert len({environment for _, environment, _ in ran}) == 5
    assert invoke(client, name, "$LATEST")[0] == ON_DEMAND
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    wait_until(lambda: invoke(client, name, "1")[0] == ON_DEMAND, what="the provisioned environments to be gone")
    with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        state(client, name, "1")


def test_provisioned_concurrency_moves_with_its_alias(client: Any, make_function: MakeFunction) -> None:
    name = make_function(SOURCE, Publish=True)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    provision(client, name, "live", 2)
    assert [one[0] for one in (invoke(client, name, "live"), invoke(client, name, "1"))] == [AHEAD, AHEAD]
    client.update_function_configuration(FunctionName=name, Description="two")
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    client.publish_version(FunctionName=name)
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    moving = state(client, name, "live")
    assert (moving["Status"], moving["AllocatedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 2)
    settled(client, name, "live")
    assert invoke(client, name, "live")[::2] == [AHEAD, "2"]
    assert invoke(client, name, "2")[::2] == [AHEAD, "2"]
    assert invoke(client, name, "1")[::2] == [ON_DEMAND, "1"]
    (listed,) = client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert listed["FunctionArn"].endswith(f":{name}:live")


def test_what_is_provisioned_counts_against_reserved_concurrency(client: Any, make_function: MakeFunction) -> None:
    name = make_function(SOURCE, Publish=True)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    provision(client, name, "1", 2)
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        client.invoke(FunctionName=name, Payload="{}")
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert {kind for kind, _, _ in at_once(client, name, "1", 2)} == {AHEAD}
    client.delete_function_concurrency(FunctionName=name)
    assert invoke(client, name, "$LATEST")[0] == ON_DEMAND


def test_a_function_that_cannot_initialise_ahead_fails_with_awss_reason_and_runs_on_demand(
    client: Any, make_function: MakeFunction
) -> None:
    name = make_function(FAILS_AHEAD, Publish=True)
    client.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1)
    wait_until(lambda: state(client, name, "1")["Status"] == "FAILED", what="the allocation to fail")
    found = state(client, name, "1")
    assert found["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    assert found["AllocatedProvisionedConcurrentExecutions"] == 0
    assert invoke(client, name, "1") == ON_DEMAND
