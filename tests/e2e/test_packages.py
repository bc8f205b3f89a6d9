"""Packages in the running cluster: what is refused is refused when it is created, and links lead where the function sees them."""

from __future__ import annotations

import json
import stat
import uuid
from typing import Any

import pytest

from tests import hostile_zips
from tests.e2e.conftest import MakeFunction
from tests.support import PYTHON, ROLE, zip_of

CANNOT_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."


@pytest.mark.parametrize("what", ["an empty name", "a name that leaves", "a million entries", "985 parts", "a wrong checksum"])
def test_a_package_that_no_worker_would_take_is_never_created(client: Any, make_function: MakeFunction, what: str) -> None:
    content = (hostile_zips.BY_RULE | hostile_zips.UNREADABLE)[what]
    name = f"bad-{uuid.uuid4().hex[:8]}"
    good = make_function("def handler(event, context):\n    return 1\n")
    invalid = client.exceptions.InvalidParameterValueException
    for attempt in (
        lambda: client.create_function(
            FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": content}
        ),
        lambda: client.update_function_code(FunctionName=good, ZipFile=content),
        lambda: client.update_function_code(FunctionName=good, ZipFile=content, DryRun=True),
        lambda: client.publish_layer_version(LayerName=name, Content={"ZipFile": content}),
    ):
        with pytest.raises(invalid) as refused:
            attempt()
        assert refused.value.response["Error"]["Message"].startswith(CANNOT_UNZIP)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=name)
    assert json.loads(client.invoke(FunctionName=good)["Payload"].read()) == 1


def test_code_may_be_a_link_into_a_layer(client: Any) -> None:
    name = f"linked-{uuid.uuid4().hex[:8]}"
    source = "def handler(event, context):\n    return open('/var/task/data').read()\n"
    layer = client.publish_layer_version(
        LayerName=name, Content={"ZipFile": zip_of({"code/app.py": source, "data": "of the layer"})}
    )
    code = hostile_zips.package(
        ("app.py", b"/opt/code/app.py", stat.S_IFLNK | 0o777), ("data", b"../../opt/data", stat.S_IFLNK | 0o777)
    )
    try:
        client.create_function(
            FunctionName=name,
            Runtime=PYTHON,
            Handler="app.handler",
            Role=ROLE,
            Code={"ZipFile": code},
            Layers=[layer["LayerVersionArn"]],
        )
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        assert json.loads(client.invoke(FunctionName=name)["Payload"].read()) == "of the layer"
    finally:
        client.delete_function(FunctionName=name)
        client.delete_layer_version(LayerName=name, VersionNumber=1)
