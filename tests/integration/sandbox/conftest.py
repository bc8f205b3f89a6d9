from tests.integration.sandbox.harness import harness

__all__ = ["harness"]
