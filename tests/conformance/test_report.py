"""docs/conformance.md is current, and what fields.yaml says of parameters is so."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from shared.aws.service_model import load_service_model
from tests.conformance.report import TARGET, fields, render
from tests.conformance.runner import Runner
from tests.conformance.values import ZIP
from tests.support import ROLE

OPERATIONS = load_service_model().operations
SAMPLES = [entry for entry in fields() if "sample" in entry]


def test_the_page_is_that_of_the_entries() -> None:
    assert TARGET.read_text() == render(), "run `make docs`"


def test_every_field_that_is_told_of_is_one_of_the_model() -> None:
    for entry in fields():
        for name in entry["of"]:
            shapes = (OPERATIONS[name].input, OPERATIONS[name].output)
            assert set(entry["fields"]) <= {member for shape in shapes if shape is not None for member in shape.members}, name


@pytest.mark.parametrize("entry", SAMPLES, ids=lambda entry: entry["fields"][0])
def test_a_parameter_without_effect_is_kept_or_refused(runner: Runner, entry: dict[str, Any]) -> None:
    (name,) = entry["fields"]
    function = f"f-{uuid.uuid4().hex[:10]}"
    request: dict[str, Any] = {"FunctionName": function, "Runtime": "python3.12", "Handler": "a.b", "Role": ROLE}
    sent = {**request, "Code": {"ZipFile": ZIP}, "PackageType": "Zip", **entry.get("beside", {}), name: entry["sample"]}
    answer = runner.call("CreateFunction", sent)
    if entry["what"] == "refused":
        assert (answer.status, answer.error) == (400, "InvalidParameterValueException")
        return
    assert answer.status == 201, answer.raw
    shown = runner.call("GetFunctionConfiguration", {"FunctionName": function}).json()[name]
    assert contains(shown, entry["sample"]), shown


def contains(shown: Any, sent: Any) -> bool:
    if isinstance(sent, dict):
        return all(name in shown and contains(shown[name], value) for name, value in sent.items())
    return bool(shown == sent)
