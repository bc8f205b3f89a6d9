"""What functions reach: outside, names, their cluster. Judged by the servers there."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.worker.sandbox.network.addresses import ENDPOINT, ENDPOINT_URL
from services.worker.sandbox.network.keeper.options import Reach
from tests.integration.network.functions import handler, sandboxes
from tests.integration.network.world import HOST, HOST_6, INTERNET, INTERNET_6, IPV4, IPV6, PRIVATE, Places, World, world
from tests.integration.sandbox.harness import needs_root, until

pytestmark = needs_root
GET = handler("return get(event)")


async def test_a_function_reaches_the_internet_and_private_networks_as_its_host(net: World, tmp_path: Path) -> None:
    servers = [net.serve(INTERNET, name="internet"), net.serve(PRIVATE, name="private")]
    async with sandboxes(tmp_path) as harness, harness.running(GET) as function:
        assert await function.result(f"http://{INTERNET}/") == "internet"
        assert await function.result(f"http://{PRIVATE}/") == "private"
    assert [server.seen for server in servers] == [[HOST], [HOST]]


async def test_names_are_resolved_by_the_servers_of_the_settings(net: World, tmp_path: Path) -> None:
    names, server = net.resolve(INTERNET, PRIVATE), net.serve(PRIVATE)
    async with sandboxes(tmp_path, resolvers=[INTERNET]) as harness, harness.running(GET) as function:
        assert await function.result("http://some.name.test/") == "served"
    assert "some.name.test" in names.asked
    assert server.requests == [("some.name.test", "/")]


async def test_names_are_resolved_by_a_server_on_the_hosts_loopback(net: World, tmp_path: Path) -> None:
    """As systemd-resolved has it; of that loopback functions reach nothing else."""
    names = net.resolve("127.0.0.53", INTERNET, where=net.host)
    net.serve(INTERNET)
    async with sandboxes(tmp_path, resolvers=["127.0.0.53"]) as harness, harness.running(GET) as function:
        assert await function.result("http://other.name.test/") == "served"
    assert "other.name.test" in names.asked


async def test_the_clusters_endpoint_is_at_one_address_in_every_sandbox(net: World, tmp_path: Path) -> None:
    frontend = net.serve("127.0.0.1", 0, name="the endpoint", where=net.host)
    async with sandboxes(tmp_path, endpoint_host="127.0.0.1", endpoint_port=frontend.port) as harness:
        for _ in range(2):
            async with harness.running(GET) as function:
                assert await function.result(ENDPOINT_URL + "/path?a=b") == "the endpoint"
    assert frontend.requests == [(f"{ENDPOINT}:9000", "/path?a=b")] * 2
    assert frontend.seen == ["127.0.0.1"] * 2


async def test_function_urls_lead_to_the_endpoint_by_their_names(net: World, tmp_path: Path) -> None:
    frontend = net.serve("127.0.0.1", 0, where=net.host)
    names = net.resolve(INTERNET, INTERNET)
    url = "http://abcd.lambda-url.us-east-1.localhost:9000/"
    async with sandboxes(tmp_path, endpoint_port=frontend.port, resolvers=[INTERNET]) as harness:
        async with harness.running(GET) as function:
            assert await function.result(url) == "served"
    assert frontend.requests == [("abcd.lambda-url.us-east-1.localhost:9000", "/")]
    assert names.asked == []


async def test_ipv6_leads_outside_where_the_host_has_it(tmp_path: Path) -> None:
    with world(ipv6=True) as net:
        server = net.serve(INTERNET_6)
        async with sandboxes(tmp_path) as harness, harness.running(GET) as function:
            assert await function.result(f"http://[{INTERNET_6}]/") == "served"
        assert server.seen == [HOST_6]


LISTS = {
    IPV4: ({"allowed": ["198.51.100.0/24", "10.0.0.0/8"], "denied": ["10.9.0.0/16"]}, "EHOSTUNREACH"),
    IPV6: ({"allowed": ["2001:db8:1::/48", "fd00::/8"], "denied": ["fd12:3456:789a::/48"]}, "EACCES"),
}
"""Settings, and what a function is told."""


@pytest.mark.parametrize("ip", LISTS, ids=str)
async def test_only_allowed_networks_are_reached_and_what_is_denied_within_them_is_not(ip: Places, tmp_path: Path) -> None:
    places, (lists, refused) = [ip.internet, ip.private, ip.outside], LISTS[ip]
    source = handler(f"return [connect(address, 80) for address in {places}]")
    with world(ipv6=ip.version == 6) as net:
        servers = [net.serve(address) for address in places]
        async with sandboxes(tmp_path, **lists) as harness, harness.running(source) as function:
            assert await function.result() == ["connected", refused, refused]
        async with sandboxes(tmp_path, attached=False) as harness, harness.running(source) as function:
            assert await function.result() == ["connected", "connected", refused]
        await until(lambda: [len(server.seen) for server in servers] == [2, 1, 0], "all are counted")


async def test_a_list_of_one_version_of_ip_opens_nothing_of_the_other(tmp_path: Path) -> None:
    source = handler(f"return [connect(address, 80) for address in {[INTERNET, INTERNET_6]}]")
    with world(ipv6=True) as net:
        for address in (INTERNET, INTERNET_6):
            net.serve(address)
        async with sandboxes(tmp_path, allowed=["198.51.100.0/24"]) as harness, harness.running(source) as function:
            assert await function.result() == ["connected", "EACCES"]


@pytest.mark.parametrize("settings", [{"kind": "none"}, {}])
async def test_a_cluster_or_a_function_may_do_without_a_network(net: World, tmp_path: Path, settings: dict[str, str]) -> None:
    frontend, server = net.serve("127.0.0.1", 0, where=net.host), net.serve(INTERNET)
    source = handler(f"return [connect('{INTERNET}', 80), connect('{ENDPOINT}', 9000), connect('name.test', 80)]")
    variables = {} if settings else {"LAMBDAD_NETWORK": "none"}
    async with sandboxes(tmp_path, endpoint_port=frontend.port, **settings) as harness:
        async with harness.running(source, variables=variables) as function:
            assert await function.result() == ["ENETUNREACH", "ENETUNREACH", "no such name"]
        if not settings:
            async with harness.running(source) as function:
                assert (await function.result())[:2] == ["connected", "connected"]
    await until(lambda: len(server.seen) == len(frontend.seen) == (0 if settings else 1), "all are counted")


async def test_a_host_that_does_not_forward_is_told_of_and_leaves_functions_the_endpoint(tmp_path: Path) -> None:
    with world(forwards=False) as net:
        frontend, server = net.serve("127.0.0.1", 0, where=net.host), net.serve(INTERNET)
        source = handler(f"return [connect('{INTERNET}', 80), connect('{ENDPOINT}', 9000)]")
        async with sandboxes(tmp_path, endpoint_port=frontend.port) as harness, harness.running(source) as function:
            assert harness.pool.network.report.reach is Reach.CLUSTER
            assert "ip_forward=1" in str(harness.pool.network.weaker)
            assert await function.result() == ["EHOSTUNREACH", "connected"]
        assert server.seen == []


async def test_one_function_holds_a_thousand_connections_and_no_more_than_the_settings_allow(
    net: World, tmp_path: Path
) -> None:
    net.serve(INTERNET)
    source = handler(
        f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept, refused = [], None
for _ in range(event):
    try:
        kept.append(socket.create_connection(("{INTERNET}", 80), 5))
    except OSError as error:
        refused = errno.errorcode[error.errno]
        break
return [len(kept), refused]
"""
    )
    async with sandboxes(tmp_path) as harness, harness.running(source) as function:
        assert await function.result(1_000) == [1_000, None]
    async with sandboxes(tmp_path, connections_max=100) as harness, harness.running(source) as function:
        assert await function.result(200) == [100, "EHOSTUNREACH"]
