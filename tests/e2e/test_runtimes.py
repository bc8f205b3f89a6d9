"""Functions that no worker of the running cluster could run are never made."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.e2e.conftest import MakeFunction
from tests.support import PYTHON, ROLE, zip_of

SOURCE = "def handler(event, context):\n    return 1\n"


def test_what_no_worker_can_run_is_refused_and_what_would_help_is_told(client: Any, make_function: MakeFunction) -> None:
    name = f"none-{uuid.uuid4().hex[:8]}"
    good = make_function(SOURCE)
    code = {"ZipFile": zip_of({"app.py": SOURCE})}
    other = "arm64" if client.get_function(FunctionName=good)["Configuration"]["Architectures"] == ["x86_64"] else "x86_64"
    runtime, architecture = "the runtime ruby3.4", f"the architecture {other}"
    for attempt, lacking in (
        (lambda: client.create_function(FunctionName=name, Runtime="ruby3.4", Handler="a.b", Role=ROLE, Code=code), runtime),
        (lambda: client.update_function_configuration(FunctionName=good, Runtime="ruby3.4"), runtime),
        (
            lambda: client.create_function(
                FunctionName=name, Runtime=PYTHON, Handler="a.b", Role=ROLE, Code=code, Architectures=[other]
            ),
            architecture,
        ),
        (lambda: client.update_function_code(FunctionName=good, Architectures=[other], **code), architecture),
    ):
        with pytest.raises(
            client.exceptions.InvalidParameterValueException, match=f"^.*No worker of this cluster has {lacking}"
        ):
            attempt()
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=name)
