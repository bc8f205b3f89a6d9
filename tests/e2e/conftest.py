"""A real cluster, real clients: what every end-to-end test starts from."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import PYTHON, ROLE, zip_of

MakeFunction = Callable[..., str]
TIMEOUT_S = 30
"""Of functions whose timeout is not what is tested: AWS's default of 3 s is little on a busy machine."""


@pytest.fixture(scope="session")
def client(cluster: Any) -> Any:
    return cluster.client("lambda")


@pytest.fixture
def make_function(client: Any) -> Iterator[MakeFunction]:
    """Creates functions that are gone after the test; answers the name, once the function is Active."""
    made: list[str] = []

    def make(source: str, *, runtime: str = PYTHON, file: str | None = None, **parameters: Any) -> str:
        name = parameters.pop("FunctionName", f"test-{uuid.uuid4().hex[:12]}")
        file = file or ("index.mjs" if runtime.startswith("nodejs") else "app.py")
        handler = parameters.pop("Handler", "index.handler" if runtime.startswith("nodejs") else "app.handler")
        parameters.setdefault("Timeout", TIMEOUT_S)
        client.create_function(
            FunctionName=name,
            Runtime=runtime,
            Handler=handler,
            Role=ROLE,
            Code={"ZipFile": zip_of({file: source})},
            **parameters,
        )
        made.append(name)
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        return name

    yield make
    for name in made:
        try:
            client.delete_function(FunctionName=name)
        except client.exceptions.ResourceNotFoundException:
            pass
