from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest

from tests.conformance.control_plane import ControlPlane
from tests.conformance.runner import Runner
from tests.conformance.services.service import Service
from tests.conftest import Engines


@pytest.fixture(scope="package")
def control_plane(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(engines, tmp_path_factory.mktemp("conformance")).running() as plane:
        yield plane


@pytest.fixture(scope="package")
def runner(control_plane: ControlPlane) -> Callable[[Service], Runner]:
    """Of each service one."""
    return functools.cache(functools.partial(Runner, control_plane))
