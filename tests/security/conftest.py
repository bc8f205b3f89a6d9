from tests.e2e.conftest import client, make_function
from tests.integration.sandbox.harness import harness
from tests.security.victims import victim, worker

__all__ = ["client", "harness", "make_function", "victim", "worker"]
