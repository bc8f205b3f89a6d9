"""What tools wait for, with boto3's and the AWS CLI's own waiters, and how a weighted alias divides its invocations."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeFunction
from tests.support import PYTHON, ROLE, zip_of

SOURCE = "import os\ndef handler(event, context): return os.environ['AWS_LAMBDA_FUNCTION_VERSION']\n"
SOON = {"Delay": 1, "MaxAttempts": 20}
INVOCATIONS = 600


def test_every_waiter_of_boto3_ends_and_finds_the_states_that_it_waits_for(client: Any) -> None:
    name = f"states-{uuid.uuid4().hex[:8]}"
    made = client.create_function(
        FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": zip_of({"app.py": SOURCE})}
    )
    assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
    assert made["StateReason"] == "The function is being created."
    assert "LastUpdateStatus" not in made
    try:
        for waiter in ("function_exists", "function_active", "function_active_v2"):
            client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig=SOON)
        active = client.get_function(FunctionName=name)["Configuration"]
        assert (active["State"], active["LastUpdateStatus"]) == ("Active", "Successful")
        assert not {"StateReason", "StateReasonCode", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"} & set(active)

        for change in (
            lambda: client.update_function_configuration(FunctionName=name, Timeout=5),
            lambda: client.update_function_code(FunctionName=name, ZipFile=zip_of({"app.py": SOURCE + "# changed\n"})),
        ):
            updated = change()
            assert (updated["State"], updated["LastUpdateStatus"]) == ("Active", "InProgress")
            assert updated["LastUpdateStatusReasonCode"] == "Creating"
            assert updated["LastUpdateStatusReason"] == "The function is being created."
            for waiter in ("function_updated", "function_updated_v2"):
                client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig=SOON)
            assert client.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful"

        published = client.publish_version(FunctionName=name)
        client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=published["Version"], WaiterConfig=SOON)
        code = client.update_function_code(FunctionName=name, ZipFile=zip_of({"app.py": SOURCE + "# again\n"}), Publish=True)
        assert (code["Version"], code["State"]) == ("2", "Pending")
        client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="2", WaiterConfig=SOON)
        found = client.get_function(FunctionName=name, Qualifier="2")["Configuration"]
        assert (found["State"], found["LastUpdateStatus"]) == ("Active", "Successful")
    finally:
        client.delete_function(FunctionName=name)


def test_aws_lambda_wait_ends_for_each_of_its_conditions(cluster: Any, make_function: MakeFunction) -> None:
    name = make_function(SOURCE, Publish=True)
    aws = str(Path(sys.executable).parent / "aws")
    for condition, more in (
        ("function-exists", []),
        ("function-active", []),
        ("function-active-v2", []),
        ("function-updated", []),
        ("function-updated-v2", []),
        ("published-version-active", ["--qualifier", "1"]),
    ):
        done = subprocess.run(
            [aws, "lambda", "wait", condition, "--function-name", name, *more],
            env={"PATH": "/usr/bin:/bin", **cluster.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{condition}: {done.stderr}"


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.5, 1.0])
def test_a_weighted_alias_divides_its_invocations_by_weight(client: Any, make_function: MakeFunction, weight: float) -> None:
    name = make_function(SOURCE, Publish=True)
    client.update_function_configuration(FunctionName=name, Description="two")
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=SOON)
    client.publish_version(FunctionName=name)
    routing = {"AdditionalVersionWeights": {"2": weight}}
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=routing)

    def invoke(_: int) -> str:
        reply = client.invoke(FunctionName=name, Qualifier="live", Payload="{}")
        version = json.loads(reply["Payload"].read())
        assert reply["ExecutedVersion"] == version
        return version

    with ThreadPoolExecutor(4) as pool:
        ran = Counter(pool.map(invoke, range(INVOCATIONS)))
    assert set(ran) <= {"1", "2"}
    # Five standard deviations: a right division fails here once in two million runs.
    allowed = 5 * math.sqrt(INVOCATIONS * weight * (1 - weight))
    assert abs(ran["2"] - INVOCATIONS * weight) <= allowed, ran
