"""Names of the keys that leases use in Redis. One Redis per cell; the braces make every key of a cell share one slot.

`state` is a hash with these fields: epoch:<layout>.<run id of the Redis process> (open epoch; a Redis that restarted or was
replaced has another run id, so nothing of an older life is ever taken for valid), fence (counter within the epoch), waiting
("1": the next release publishes "room"), sticky (see acquire.lua), next and next_run (an epoch being rebuilt), about; for each
region running:<region> (leases in the account's pool there, and provisioned environments of functions without reserved
concurrency) and limit:<region> (of that pool); for each function rev:<function>, res:<function> (reserved concurrency),
run:<function> (leases and provisioned environments), held:<function> (of these, provisioned environments), and for each version
prov:<version key> (its provisioned environments). What there is none of may be missing.

A function is `<region>/<id>` here (`VersionSpec.counted_as`), so that a script can tell which account's pool it counts in. What
room workers have is told in lua/parts/room.lua, what is in `engines` in engines.py.
"""

from __future__ import annotations

import re

CHANNEL_EVENTS = (
    *("room", "recall", "changed", "retired", "wiped", "rebuilding", "epoch", "joined", "lost", "provisioned", "urls"),
    "engines",
)
"""First words of what is published on `events`."""

LAYOUT = 2
"""Of what the scripts keep: what another layout left is rebuilt like what another Redis left."""

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,200}")


class Keys:
    """Every key of one cell."""

    __slots__ = (
        "alive_holders",
        "alive_workers",
        "engines",
        "events",
        "free",
        "leader",
        "leader_fence",
        "lru",
        "parked",
        "paused",
        "prefix",
        "provisioned",
        "ring",
        "room",
        "state",
        "workers",
    )

    def __init__(self, cell: str) -> None:
        self.prefix = f"lambdad:{{{cell}}}:"
        self.state = self.prefix + "state"
        self.room = self.prefix + "room"
        self.free = self.prefix + "free"
        self.ring = self.prefix + "ring"
        self.lru = self.prefix + "lru"
        self.parked = self.prefix + "parked"
        self.paused = self.prefix + "paused"
        self.provisioned = self.prefix + "provisioned"
        self.workers = self.prefix + "workers"
        self.alive_workers = self.prefix + "alive:workers"
        self.alive_holders = self.prefix + "alive:holders"
        self.engines = self.prefix + "engines"
        self.events = self.prefix + "events"
        self.leader = self.prefix + "leader"
        self.leader_fence = self.prefix + "leader:fence"

    def idle(self, version_key: str) -> str:
        return f"{self.prefix}idle:{version_key}"

    def pauses(self, function: str) -> str:
        """What is learnt of a function's pauses: a hash, by the number of a bucket how many there were, keep (ms that idle
        environments are kept for that) and ended (last use, Unix ms, of environments that were stopped)."""
        return f"{self.prefix}pauses:{function}"

    def ready(self, version_key: str) -> str:
        """Idle provisioned environments of a version."""
        return f"{self.prefix}ready:{version_key}"

    def provisioned_of(self, version_key: str) -> str:
        """Every provisioned environment of a version, and how far it is."""
        return f"{self.prefix}provisioned:{version_key}"

    def envs(self, worker_id: str) -> str:
        return f"{self.prefix}envs:{worker_id}"

    def leases(self, holder: str, pool: str) -> str:
        """pool: "u" (the account's unreserved pool), "r" (a function's reserved concurrency) or "p" (provisioned)."""
        return f"{self.prefix}leases:{holder}:{pool}"


def epoch_field(run_id: str) -> str:
    """Of `state`: where the open epoch of that run of Redis is."""
    return f"epoch:{LAYOUT}.{run_id}"


def check_instance_name(name: str) -> str:
    """A worker's or holder's name, which becomes part of keys and leases. Raises ValueError on one that would break them."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"an instance is named with up to 200 letters, digits, '.', '_', ':' and '-': {name!r}")
    return name
