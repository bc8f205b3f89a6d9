"""docs/conformance.md and its pages are current, and what management_fields.yaml says of parameters is so."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from shared.aws.service_model import load_service_model
from tests.conformance.report import DOCS, fields, pages
from tests.conformance.runner import Runner
from tests.conformance.services.lambda_.service import ZIP, Lambda
from tests.conformance.services.service import Service
from tests.support import ROLE

OPERATIONS = load_service_model().operations
FIELDS = fields(Lambda())
SAMPLES = [entry for entry in FIELDS if "sample" in entry]


def test_the_pages_are_those_of_the_entries() -> None:
    found = {path: path.read_text() for path in [DOCS / "conformance.md", *(DOCS / "conformance").iterdir()]}
    assert found == pages(), "run `make docs`"


def test_every_field_that_is_told_of_is_one_of_the_model() -> None:
    for entry in FIELDS:
        for name in entry["of"]:
            shapes = (OPERATIONS[name].input, OPERATIONS[name].output)
            assert set(entry["fields"]) <= {member for shape in shapes if shape is not None for member in shape.members}, name


@pytest.mark.parametrize("entry", SAMPLES, ids=lambda entry: entry["fields"][0])
def test_a_parameter_without_effect_is_kept_or_refused(runner: Callable[[Service], Runner], entry: dict[str, Any]) -> None:
    (name,) = entry["fields"]
    function = f"f-{uuid.uuid4().hex[:10]}"
    request: dict[str, Any] = {"FunctionName": function, "Runtime": "python3.12", "Handler": "a.b", "Role": ROLE}
    sent = {**request, "Code": {"ZipFile": ZIP}, "PackageType": "Zip", **entry.get("beside", {}), name: entry["sample"]}
    management = runner(Lambda())
    answer = management.call("CreateFunction", sent)
    if entry["what"] == "refused":
        assert (answer.status, answer.error) == (400, "InvalidParameterValueException")
        return
    assert answer.status == 201, answer.raw
    shown = management.call("GetFunctionConfiguration", {"FunctionName": function}).body[name]
    assert contains(shown, entry["sample"]), shown


def contains(shown: Any, sent: Any) -> bool:
    if isinstance(sent, dict):
        return all(name in shown and contains(shown[name], value) for name, value in sent.items())
    return bool(shown == sent)
