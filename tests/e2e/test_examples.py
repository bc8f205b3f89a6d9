"""Every function of the gallery is deployed and answers its event as its folder says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import zip_folder

GALLERY = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("folder", sorted(p.parent for p in GALLERY.glob("*/function.json")), ids=lambda p: p.name)
def test_an_example_answers_its_event(client: Any, folder: Path) -> None:
    parameters = json.loads((folder / "function.json").read_text())
    name = parameters["FunctionName"]
    client.create_function(Code={"ZipFile": zip_folder(folder / "src")}, **parameters)
    try:
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        reply = client.invoke(FunctionName=name, Payload=(folder / "event.json").read_bytes())
        assert json.loads(reply["Payload"].read()) == json.loads((folder / "expected.json").read_text())
        assert "FunctionError" not in reply
    finally:
        client.delete_function(FunctionName=name)
