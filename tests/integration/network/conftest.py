"""Worlds around a test's sandboxes, for all tests of what a function reaches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.network.world import IPV4, IPV6, Places, World, world


@pytest.fixture
def net() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture(params=[IPV4, IPV6], ids=str)
def ip(request: pytest.FixtureRequest) -> Places:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def net_of(ip: Places) -> Iterator[World]:
    """Of that version of IP; IPv4 is everywhere."""
    with world(ipv6=ip.version == 6) as made:
        yield made
