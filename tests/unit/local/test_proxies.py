from __future__ import annotations

import pytest

from deploy.local.proxies import exemption


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, None),
        ({"NO_PROXY": "internal"}, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "127.0.0.1,localhost"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "internal, .corp"}, "internal,.corp,127.0.0.1,localhost"),
        ({"ALL_PROXY": "socks5://proxy", "NO_PROXY": "a", "no_proxy": "b,localhost"}, "a,b,localhost,127.0.0.1"),
        ({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, None),
    ],
)
def test_the_cluster_is_kept_out_of_a_proxys_reach(environment: dict[str, str], expected: str | None) -> None:
    assert exemption(environment) == ({} if expected is None else {"NO_PROXY": expected, "no_proxy": expected})
