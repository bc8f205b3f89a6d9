"""Tools meet a whole running cluster, as the end-to-end tests do."""

from tests.e2e.conftest import client, make_function

__all__ = ["client", "make_function"]
