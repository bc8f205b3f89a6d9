"""A cluster of its own for the tests that break it, and a load of events for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.address import Address
from tests.chaos.load import Load
from tests.chaos.place import Place
from tests.chaos.traffic.invocations import Calls, Events


@pytest.fixture(autouse=True)
def whole(cluster: Any) -> Iterator[None]:
    """The next test, of this folder or another, finds everything running again."""
    yield
    cluster.ready()


@pytest.fixture(scope="session")
def place(cluster: Any) -> Iterator[Place]:
    with Address().listening() as address, contextlib.closing(Place(cluster, address)) as found:
        yield found


@pytest.fixture(scope="session")
def client(place: Place) -> Any:
    return place.client("lambda")


@pytest.fixture(scope="session")
def streams(place: Place) -> Any:
    """Redis, read by a client that outlives its restarts."""
    return place.redis


@pytest.fixture(scope="module")
def load(place: Place) -> Iterator[Load]:
    """Calls and events."""
    with Load(Calls(place), Events(place)).opened() as found:
        yield found
