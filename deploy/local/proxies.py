"""Clients on a machine whose HTTP goes through a proxy: what they ask of this machine's cluster must not."""

from __future__ import annotations

from collections.abc import Mapping

PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
EXEMPTIONS = ("NO_PROXY", "no_proxy")
"""Clients differ in which of the two they read, and in which wins where both are set."""
OURS = ("127.0.0.1", "localhost")
"""The endpoint's address, and what the host names of function URLs end in."""


def exemption(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that take the cluster's addresses out of the proxy's reach; none where there is no proxy."""
    if not any(environment.get(name) for name in PROXIES):
        return {}
    named = (name.strip() for variable in EXEMPTIONS for name in environment.get(variable, "").split(","))
    names = list(dict.fromkeys([*filter(None, named), *OURS]))
    return {} if "*" in names else dict.fromkeys(EXEMPTIONS, ",".join(names))
