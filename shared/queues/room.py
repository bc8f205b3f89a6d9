"""Whether Redis takes more messages: where leases are in the same one, what queues leave them is theirs."""

from __future__ import annotations

import asyncio

from shared.queues.errors import QueueUnavailableError
from shared.redis.connection import RedisConnection, RedisError, Reply
from shared.redis.scripts import pack

SHARE_MAX = 0.8
LOOK_S = 0.5
_INFO = pack("INFO", "memory")


class Room:
    """Looks at Redis's memory while messages are sent, twice a second at most, and never waits for what it says.

    share: of its memory that may be in use. A Redis without a bound always has room.
    """

    def __init__(self, redis: RedisConnection, share: float) -> None:
        self._redis = redis
        self._share = share
        self._looked_at = float("-inf")
        self._full = False

    def check(self) -> None:
        """Raises QueueUnavailableError when there was no room at the last look."""
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= LOOK_S and self._redis.connected:
            self._looked_at = now
            try:
                self._redis.send(_INFO, self._on_reply)
            except RedisError:
                self._full = False
        if self._full:
            raise QueueUnavailableError(f"queues have filled their {self._share:.0%} of Redis's memory")

    def _on_reply(self, reply: Reply) -> None:
        if not isinstance(reply, bytes | str):
            return
        text = reply.decode() if isinstance(reply, bytes) else reply
        figures = dict(line.split(":", 1) for line in text.split() if ":" in line)
        used, most = int(figures.get("used_memory", 0)), int(figures.get("maxmemory", 0))
        self._full = most > 0 and used > most * self._share
