from tests.e2e.conftest import client, make_function
from tests.integration.network.conftest import ip, net, net_of
from tests.integration.sandbox.harness import harness
from tests.security.victims import victim, worker

__all__ = ["client", "harness", "ip", "make_function", "net", "net_of", "victim", "worker"]
