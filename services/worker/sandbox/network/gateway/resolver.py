"""The resolver of functions: it asks the host's own ones, wherever those listen. Names of function URLs it knows itself."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import socket
from collections.abc import Sequence
from typing import cast

from services.worker.sandbox.network.addresses import ENDPOINT, RESOLVER_PORT
from services.worker.sandbox.network.gateway import dns
from services.worker.sandbox.network.gateway.shares import Shares

HOST_FILE = "/etc/resolv.conf"
ATTEMPT_TIMEOUT_S = 3.0
SERVERS_MAX = 3
"""As the C library's."""
ANSWER_BYTES_MAX = 65_535
FUNCTION_URLS = ".lambda-url."

Server = tuple[str, int]


class HostServers:
    """given: instead of the ones that the host's file names."""

    def __init__(self, given: Sequence[Server] = (), file: str = HOST_FILE) -> None:
        self._given = tuple(given)
        self._file = file
        self._read_at: tuple[int, int] | None = None
        self._found: tuple[Server, ...] = ()

    def __call__(self) -> tuple[Server, ...]:
        """Read again when the file has changed. (127.0.0.1 where it names none, as the C library has it.)"""
        if self._given:
            return self._given
        try:
            status = os.stat(self._file)
            if (status.st_mtime_ns, status.st_ino) != self._read_at:
                with open(self._file) as file:
                    self._found = tuple(_servers(file.read()))
                self._read_at = status.st_mtime_ns, status.st_ino
        except OSError:
            self._found, self._read_at = (), None
        return self._found or (("127.0.0.1", RESOLVER_PORT),)


def _servers(text: str) -> list[Server]:
    found = []
    for words in (line.split() for line in text.splitlines()):
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                ipaddress.ip_address(words[1])
            except ValueError:
                continue
            found.append((words[1], RESOLVER_PORT))
    return found[:SERVERS_MAX]


class Resolver(asyncio.DatagramProtocol):
    """By UDP. shares: of queries under way; what they have no room for is dropped, as by a busy server. domain: of function
    URLs' names."""

    def __init__(self, servers: HostServers, domain: str, shares: Shares) -> None:
        self._servers = servers
        self._own = "." + domain
        self._shares = shares
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        question = dns.question_of(data)
        if question is None:
            return
        if question.name.endswith(self._own) and FUNCTION_URLS in question.name:
            self._transport.sendto(dns.answer_with(data, question, ENDPOINT), addr)
            return
        if not self._shares.make_room(addr[0]):
            return
        task = asyncio.get_running_loop().create_task(self._forward(data, question, addr))
        self._shares.add(addr[0], task)
        task.add_done_callback(lambda done: self._shares.remove(addr[0], done))

    async def _forward(self, query: bytes, question: dns.Question, asker: tuple[str, int]) -> None:
        assert self._transport is not None
        answer = await self._ask(query, question)
        self._transport.sendto(dns.failure(query) if answer is None else query[:2] + answer[2:], asker)

    async def _ask(self, query: bytes, question: dns.Question) -> bytes | None:
        for host, port in self._servers():
            try:
                async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                    return await _exchange(query, question, host, port)
            except OSError:
                continue
        return None


async def _exchange(query: bytes, question: dns.Question, host: str, port: int) -> bytes:
    """With a number and a port of chance: neither is the function's to choose. Raises OSError."""
    loop = asyncio.get_running_loop()
    number = secrets.token_bytes(2)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((host, port))
        await loop.sock_sendall(sock, number + query[2:])
        while True:
            answer = await loop.sock_recv(sock, ANSWER_BYTES_MAX)
            if answer[:2] == number and dns.answers(query, question, answer):
                return answer
