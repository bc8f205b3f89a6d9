"""The gateway: what functions reach of their own cluster, without a way into its network. Unprivileged.

Its listening sockets are in the router's namespace, and all that it connects to is in the host's. What functions send, it
copies; of DNS it reads the question.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Sequence

import msgspec

from services.worker.sandbox import libc
from services.worker.sandbox.network.gateway.relay import Address, Relay
from services.worker.sandbox.network.gateway.resolver import HostServers, Resolver
from services.worker.sandbox.network.gateway.shares import Shares

NOBODY = 65_534
CONNECTIONS_MAX, CONNECTIONS_SLOT_MAX = 1_024, 128
"""To the endpoint, at one time: of all functions and of one."""
QUERIES_MAX, QUERIES_SLOT_MAX = 512, 64
STREAMS_MAX, STREAMS_SLOT_MAX = 64, 8
"""Connections for questions by TCP: servers have few of them, and the host has the same servers."""
STREAM_LASTS_S = 20.0
_DESCRIPTORS = 2 * (CONNECTIONS_MAX + STREAMS_MAX) + QUERIES_MAX + 64


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
        _take_descriptors()
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


def _take_descriptors() -> None:
    """As many as the bounds above come to, whatever a shell or a service manager gave."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _DESCRIPTORS)), hard))


def _give_up_privileges() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    libc.set_no_new_privileges()
    libc.set_dumpable(False)


async def _serve(listeners: Listeners, options: GatewayOptions) -> None:
    servers = HostServers(options.resolvers)
    to_endpoint = Relay(lambda: (options.endpoint,), Shares(CONNECTIONS_SLOT_MAX, CONNECTIONS_MAX))
    to_servers = Relay(servers, Shares(STREAMS_SLOT_MAX, STREAMS_MAX), lasts_s=STREAM_LASTS_S)
    for listener in listeners.endpoint:
        await to_endpoint.serve(listener)
    await to_servers.serve(listeners.resolver_streams)
    resolver = Resolver(servers, options.domain, Shares(QUERIES_SLOT_MAX, QUERIES_MAX))
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: resolver, sock=listeners.resolver)
    await asyncio.get_running_loop().create_future()
