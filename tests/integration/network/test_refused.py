"""Ports of services that functions must not reach: many of them, by both versions of IP, for new and for open connections.
Judged by the servers there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.integration.network.functions import handler, sandboxes
from tests.integration.network.world import INTERNET, INTERNET_6, world
from tests.integration.sandbox.harness import Running, needs_root, until
from tests.support import PATIENCE_S

pytestmark = needs_root
TRY = handler(
    """
global kept
if event == "keep":
    kept = http.client.HTTPConnection("INTERNET", 8080, timeout=1)
if event in ("keep", "use"):
    try:
        kept.request("GET", "/" + event)
        return kept.getresponse().read().decode()
    except OSError as error:
        return type(error).__name__
return [connect(*each) for each in event]
""".replace("INTERNET", INTERNET)
)
MANY = 1_200


async def comes_to(function: Running, targets: list[tuple[str, int]], wanted: list[str]) -> list[int]:
    """The keeper is told, and does it a moment later. How often each was connected to before."""
    connected = [0] * len(targets)
    async with asyncio.timeout(PATIENCE_S):
        while (found := await function.result(targets)) != wanted:
            connected = [before + (each == "connected") for before, each in zip(connected, found, strict=True)]
    return connected


async def test_many_ports_are_refused_and_no_other_and_let_go_again(tmp_path: Path) -> None:
    others = [(f"10.1.{number // 250}.{number % 250}", 9_100) for number in range(MANY)]
    others += [(f"fd12::{number:x}", 9_100) for number in range(1, MANY)]
    refused = [(INTERNET, 8_080), (INTERNET_6, 8_080)]
    beside = [(INTERNET, 8_081), (INTERNET_6, 8_081)]
    with world(ipv6=True) as net:
        servers = [net.serve(*each) for each in refused]
        witnesses = [net.serve(*each) for each in beside]
        async with sandboxes(tmp_path) as harness, harness.running(TRY) as function:
            assert await function.result("keep") == "served"
            harness.pool.network.refuse([*others, *refused])
            by_4, by_6 = await comes_to(function, refused, ["EHOSTUNREACH", "EACCES"])
            await until(lambda: [len(each.seen) for each in servers] == [by_4 + 1, by_6], "all that came before to be counted")
            assert await function.result("use") != "served", "a connection that was open before"
            assert await function.result([*beside, *refused]) == ["connected", "connected", "EHOSTUNREACH", "EACCES"]
            await until(lambda: [len(each.seen) for each in witnesses] == [1, 1], "those beside them to be counted")
            assert [len(each.seen) for each in servers] == [by_4 + 1, by_6]
            assert [path for _host, path in servers[0].requests] == ["/keep"]
            harness.pool.network.refuse(others)
            await comes_to(function, refused, ["connected", "connected"])
