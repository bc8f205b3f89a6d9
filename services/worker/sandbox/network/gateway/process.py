"""The gateway: what functions reach of their own cluster, without a way into its network. Unprivileged.

Its listening sockets are in the router's namespace, and all that it connects to is in the host's. What functions send, it
copies; of DNS it reads the question.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

import msgspec

from services.worker.sandbox import libc
from services.worker.sandbox.network.gateway.relay import Address, Relay
from services.worker.sandbox.network.gateway.resolver import HostServers, Resolver

NOBODY = 65_534


class GatewayOptions(msgspec.Struct, frozen=True):
    """endpoint: of the cluster. resolvers: none for the host's own. domain: of function URLs' names."""

    endpoint: Address
    resolvers: tuple[Address, ...]
    domain: str


class Listeners(msgspec.Struct, frozen=True):
    endpoint: Sequence[socket.socket]
    resolver: socket.socket
    resolver_streams: socket.socket

    def all(self) -> list[socket.socket]:
        return [*self.endpoint, self.resolver, self.resolver_streams]


def start(listeners: Listeners, options: GatewayOptions) -> int:
    """Fork it; the process's id. It ends with its parent."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        libc.set_parent_death_signal(9)
        _keep_only(listeners)
        _give_up_privileges()
        libc.set_parent_death_signal(9)  # A change of user takes it back.
        if os.getppid() == parent:
            asyncio.run(_serve(listeners, options))
    finally:
        os._exit(1)


def _keep_only(listeners: Listeners) -> None:
    kept = sorted(each.fileno() for each in listeners.all())
    below = 3
    for fd in kept:
        os.closerange(below, fd)
        below = fd + 1
    libc.close_fds_from(below)


def _give_up_privileges() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    libc.set_no_new_privileges()
    libc.set_dumpable(False)


async def _serve(listeners: Listeners, options: GatewayOptions) -> None:
    servers = HostServers(options.resolvers)
    relays = Relay(lambda: (options.endpoint,))
    for listener in listeners.endpoint:
        await relays.serve(listener)
    await Relay(servers).serve(listeners.resolver_streams)
    await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Resolver(servers, options.domain), sock=listeners.resolver
    )
    await asyncio.get_running_loop().create_future()
