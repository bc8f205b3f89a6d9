"""The connection of leases and of queues: scripts of all callers, pipelined, written once per turn of the event loop.

redis-py costs ten times the processor time per script; it is used for everything that is on the path of neither.
Replies and published messages share one RESP3 connection, so that a holder that hears nothing published also gets no reply
to its heartbeat, and knows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from hiredis import ProtocolError, PushNotification, Reader, ReplyError
from redis.asyncio.connection import parse_url

from shared.domain.errors import DispatchUnavailableError
from shared.redis.scripts import Script, pack
from shared.telemetry.supervision import supervise

log = logging.getLogger("lambdad.redis")

IN_FLIGHT_MAX = 20_000
BACKOFF_S_MAX = 1.0
DEADLINE_CHECK_S = 0.2
_INCOMPLETE = object()

Reply = Any
"""What Redis answered: bytes, int, None or a list; an exception when it failed or the connection was lost."""
OnReply = Callable[[Reply], None]
_Pending = tuple[OnReply, float, Script | None, bytes]


class RedisError(DispatchUnavailableError):
    """Redis cannot be reached, did not answer in time or refused a command. The command may have been executed."""


class _Link(asyncio.Protocol):
    """One socket's life. Replies come in the order of the commands, so the oldest command's deadline is the first."""

    def __init__(self, timeout_s: float, on_published: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._on_published = on_published
        self._reader = Reader(notEnoughData=_INCOMPLETE)
        self._pending: deque[_Pending] = deque()
        self._out: list[bytes] = []
        self._deferred: list[Callable[[], None]] = []
        self._flushing = False
        self._transport: asyncio.Transport | None = None
        self._checking = False
        self.lost: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, command: bytes, on_reply: OnReply, script: Script | None) -> None:
        if len(self._pending) >= IN_FLIGHT_MAX or self.lost.done():
            raise RedisError("too many commands are waiting for Redis" if not self.lost.done() else "Redis is not connected")
        self.push(command)
        self._pending.append((on_reply, self._loop.time(), script, command))
        if not self._checking:
            self._checking = True
            self._loop.call_later(DEADLINE_CHECK_S, self._check_deadline)

    def push(self, command: bytes) -> None:
        """Write a command that has no reply in turn (SUBSCRIBE is confirmed by a push message)."""
        self._out.append(command)
        self._flush_soon()

    def defer(self, collect: Callable[[], None]) -> None:
        """Call `collect` just before everything is written: it may put together what was asked for in this turn."""
        self._deferred.append(collect)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._deferred:
            deferred, self._deferred = self._deferred, []
            for collect in deferred:
                collect()
        self._flushing = False
        if self._transport is not None and self._out and not self.lost.done():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def data_received(self, data: bytes) -> None:
        reader, pending = self._reader, self._pending
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _INCOMPLETE:
                if type(reply) is PushNotification:
                    if len(reply) == 3 and reply[0] == b"message":
                        self._on_published(reply[2])
                    continue
                on_reply, _, script, command = pending.popleft()
                if type(reply) is ReplyError:
                    if script is not None and str(reply).startswith("NOSCRIPT"):
                        self.send(script.by_body(command), on_reply, None)
                        continue
                    reply = RedisError(f"Redis: {reply}")
                on_reply(reply)
        except (ProtocolError, IndexError) as error:
            self._fail(f"Redis sent what is not its protocol: {error}")

    def _check_deadline(self) -> None:
        self._checking = bool(self._pending) and not self.lost.done()
        if not self._checking:
            return
        if self._loop.time() - self._pending[0][1] > self._timeout_s:
            self._fail(f"Redis did not answer within {self._timeout_s:g} s")
        else:
            self._loop.call_later(DEADLINE_CHECK_S, self._check_deadline)

    def _fail(self, reason: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"the connection to Redis was lost{f': {error}' if error else ''}")

    def _end(self, reason: str) -> None:
        if self.lost.done():
            return
        self.lost.set_result(None)
        pending, self._pending = self._pending, deque()
        self._out.clear()
        self._flush_soon()
        for on_reply, *_ in pending:
            on_reply(RedisError(reason))

    def close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()


def settle(future: asyncio.Future[Reply]) -> OnReply:
    """Give a reply to a future, unless nobody waits for it any more."""

    def on_reply(reply: Reply) -> None:
        if future.done():
            return
        if isinstance(reply, Exception):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    return on_reply


class RedisConnection:
    """Stays connected to one Redis, with backoff, until closed.

    on_published: gets what is published on `channel`. on_connected: called after each (re)connection, before anybody else
    can send. scripts: sent to each Redis before anything else; others are sent when they are first called. run_id: names the
    life of the Redis process that is connected now.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        connect_timeout_s: float,
        timeout_s: float,
        channel: str | None = None,
        on_published: Callable[[bytes], None] | None = None,
        on_connected: Callable[[], None] | None = None,
        scripts: Iterable[Script] = (),
    ) -> None:
        self._url = url
        self._name = name
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._channel = channel
        self._on_published = on_published or (lambda message: None)
        self._on_connected = on_connected
        self._scripts = tuple(scripts)
        self._link: _Link | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._up = asyncio.Event()
        self.run_id = ""
        self.problem: str | None = "not connected yet"

    def start(self) -> None:
        self._tasks.add(supervise("redis-connection", self._stay_connected, essential=True))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._up.clear()
        if self._link is not None:
            self._link.close()
            self._link = None

    @property
    def connected(self) -> bool:
        return self._link is not None

    async def wait_connected(self, timeout_s: float) -> bool:
        """Whether it was connected within that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        return self._up.is_set()

    def send(self, command: bytes, on_reply: OnReply, script: Script | None = None) -> None:
        """Write a packed command; on_reply gets the reply or a RedisError. script: the one it calls, sent whole if Redis
        forgot it. Raises RedisError at once when there is no connection or too much waits already."""
        link = self._link
        if link is None:
            raise RedisError(f"Redis is not connected: {self.problem}")
        link.send(command, on_reply, script)

    def defer(self, collect: Callable[[], None]) -> None:
        """Call `collect` just before this turn's commands are written; without a connection, soon."""
        if self._link is None:
            asyncio.get_running_loop().call_soon(collect)
        else:
            self._link.defer(collect)

    async def call(self, command: bytes, script: Script | None = None) -> Reply:
        """Write a packed command and wait for its reply; never longer than the timeout. Raises RedisError."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.send(command, settle(future), script)
        return await future

    async def command(self, *arguments: str | bytes | int) -> Reply:
        """A plain command by its words. Raises RedisError."""
        return await self.call(pack(*arguments))

    async def _stay_connected(self) -> None:
        backoff_s = 0.02
        while True:
            try:
                link = await self._connect()
            except (OSError, TimeoutError, RedisError, ssl.SSLError) as error:
                self.problem = str(error) or type(error).__name__
                log.log(logging.WARNING if backoff_s >= BACKOFF_S_MAX else logging.DEBUG, "no Redis: %s", self.problem)
                await asyncio.sleep(backoff_s * random.uniform(0.7, 1.3))
                backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)
                continue
            backoff_s = 0.02
            self._link, self.problem = link, None
            try:
                if self._on_connected is not None:
                    self._on_connected()
                self._up.set()
                await link.lost
            except BaseException:
                link.close()
                raise
            self._link, self.problem = None, "the connection was lost"
            self._up.clear()

    async def _connect(self) -> _Link:
        where: dict[str, Any] = dict(parse_url(self._url))
        loop = asyncio.get_running_loop()
        link: _Link | None = None

        def make() -> _Link:
            return _Link(self._timeout_s, self._on_published)

        try:
            async with asyncio.timeout(self._connect_timeout_s):
                if "path" in where:
                    _, link = await loop.create_unix_connection(make, where["path"])
                else:
                    host, port = where.get("host", "localhost"), where.get("port", 6379)
                    tls = ssl.create_default_context() if self._url.startswith("rediss:") else None
                    _, link = await loop.create_connection(make, host, port, ssl=tls)
                await self._greet(link, where)
        except BaseException:
            if link is not None:
                link.close()
            raise
        return link

    async def _greet(self, link: _Link, where: dict[str, Any]) -> None:
        hello: list[str] = ["HELLO", "3"]
        if where.get("password"):
            hello += ["AUTH", where.get("username") or "default", where["password"]]
        asked = [self._ask(link, pack(*hello, "SETNAME", self._name))]
        asked.append(self._ask(link, pack("SELECT", int(where.get("db", 0)))))
        asked += [self._ask(link, each.load_command()) for each in self._scripts]
        if self._channel is not None:
            link.push(pack("SUBSCRIBE", self._channel))
        asked.append(self._ask(link, pack("INFO", "server")))
        replies = await asyncio.gather(*asked)
        for line in bytes(replies[-1]).splitlines():
            if line.startswith(b"run_id:"):
                self.run_id = line[7:].decode()

    def _ask(self, link: _Link, command: bytes) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        link.send(command, settle(future), None)
        return future
