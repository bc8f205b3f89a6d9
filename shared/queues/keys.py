"""The Redis keys of a queue: the stream of its messages, and beside it what is known of them.

All of them fall into one slot of a Redis cluster: the hash tag of the others is the stream's whole name.
"""

from __future__ import annotations

import functools

from shared.domain.arns import Home
from shared.queues.records import QueueId
from shared.redis.scripts import bulk

QUEUES = "queues"
"""The set of all streams that may hold something, for the sweep."""
CHANNEL = "queues:events"

STANDARD = ("settings", "state", "flight", "received", "delayed", "sent", "sent-ids", "later", "moved")
FIFO = ("settings", "state", "flight", "received", "delayed", "sent", "sent-ids", "order", "ready")
"""Beside the stream, in the order in which every script takes them: lua/parts/start.lua says what is in them."""


def stream_key(name: str) -> str:
    """The Redis key of a queue's stream."""
    return f"queue:{name}"


def topic_key(name: str) -> str:
    """The Redis key of a topic's stream: every reader sees all that was published, as every subscriber would."""
    return f"topic:{name}"


def name_of(arn: str, region: str) -> str:
    """What a queue or topic is called here: its name, with the region before it where that is another than `region`."""
    _, _, _, its_region, _, name = arn.split(":", 5)
    return name if its_region == region else f"{its_region}:{name}"


def stream_of(queue: QueueId, own: Home) -> str:
    """own: the home whose queues go by their names alone."""
    if queue.home == own:
        return stream_key(queue.name)
    if queue.home.account_id == own.account_id:
        return stream_key(f"{queue.home.region}:{queue.name}")
    return stream_key(f"{queue.home.account_id}:{queue.home.region}:{queue.name}")


@functools.lru_cache(maxsize=16_384)
def packed(stream: str, *, fifo: bool) -> bytes:
    """All keys of a queue as a script's call has them, their number before."""
    names: list[str] = [stream, *(f"{{{stream}}}:{each}" for each in (FIFO if fifo else STANDARD))]
    return bulk(len(names)) + b"".join(map(bulk, names))


KEY_COUNT = 1 + len(STANDARD)
