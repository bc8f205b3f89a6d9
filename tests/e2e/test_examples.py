"""Every function of the gallery is deployed and answers its event as its folder says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import PYTHON, zip_folder

GALLERY = Path(__file__).resolve().parents[2] / "examples"


def gallery() -> list[Any]:
    """Every example's folder and parameters: those in Python with one that is here, the others where their runtime is."""
    found = []
    for file in sorted(GALLERY.glob("*/function.json")):
        parameters = json.loads(file.read_text())
        if parameters["Runtime"].startswith("python"):
            found.append(pytest.param(file.parent, parameters | {"Runtime": PYTHON}, id=file.parent.name))
        else:
            needs = pytest.mark.needs(parameters["Runtime"])
            found.append(pytest.param(file.parent, parameters, id=file.parent.name, marks=needs))
    return found


@pytest.mark.parametrize(("folder", "parameters"), gallery())
def test_an_example_answers_its_event(client: Any, folder: Path, parameters: dict[str, Any]) -> None:
    name = parameters["FunctionName"]
    client.create_function(Code={"ZipFile": zip_folder(folder / "src")}, **parameters)
    try:
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        reply = client.invoke(FunctionName=name, Payload=(folder / "event.json").read_bytes())
        assert json.loads(reply["Payload"].read()) == json.loads((folder / "expected.json").read_text())
        assert "FunctionError" not in reply
    finally:
        client.delete_function(FunctionName=name)
