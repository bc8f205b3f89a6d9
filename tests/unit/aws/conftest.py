from __future__ import annotations

import pytest

from shared.aws.routing import Router
from shared.aws.service_model import ServiceModel, load_service_model


@pytest.fixture(scope="session")
def model() -> ServiceModel:
    return load_service_model()


@pytest.fixture(scope="session")
def router(model: ServiceModel) -> Router:
    return Router(model.operations.values())
