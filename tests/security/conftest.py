from tests.e2e.conftest import client
from tests.integration.sandbox.harness import harness

__all__ = ["client", "harness"]
