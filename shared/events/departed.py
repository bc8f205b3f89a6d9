"""Members of a consumer group whose process is gone: who comes next takes them out of the group.

Kafka learns that a process was killed when its session is over, some seconds later. Until then nobody has its partitions, not
even the process that was started in its place. So what a member calls itself says which process it is, and on the same machine
anybody can tell whether that still lives. Members elsewhere are left to Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import re
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from shared.events.kafka import client_arguments
from shared.settings.kafka import KafkaCluster

log = logging.getLogger("lambdad.events.group")

TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 2.0
REQUEST_TIMEOUT_MS = 4_000
START_FIELD = 19
"""Of /proc/PID/stat behind the command's name: when the process began, in ticks since the boot."""
ENDED = ("Z", "X")
"""Its states of a process that only waits for its parent to notice."""
_MARK = re.compile(r"\.([0-9a-f]{8}-\d+)-(\d+)-(\d+)$")


def named(client_id: str) -> str:
    """With this process's mark: where it is (boot and namespace of process ids), its id, when it began."""
    place = _place()
    began = _began(os.getpid())
    return client_id if place is None or began is None else f"{client_id}.{place}-{os.getpid()}-{began}"


def is_gone(client_id: str) -> bool:
    """Whether a member that calls itself so was a process of this machine, and that has ended. False where nobody can tell."""
    mark = _MARK.search(client_id)
    if mark is None or mark[1] != _place():
        return False
    pid = int(mark[2])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    began = _began(pid)
    return began is not None and began != mark[3]


async def take_out(cluster: KafkaCluster, group: str) -> None:
    """Never raises: where it cannot be done, Kafka does it when their sessions are over."""
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(TIMEOUT_S):
            admin = AIOKafkaAdminClient(
                **client_arguments(cluster), client_id=named("departed"), request_timeout_ms=REQUEST_TIMEOUT_MS
            )
            try:
                await admin.start()
                coordinator = await admin.find_coordinator(group)
                [described] = await admin.describe_consumer_groups([group], coordinator)
                for member in described.to_object()["groups"][0]["members"]:
                    if is_gone(member["client_id"]):
                        await admin._send_request(LeaveGroupRequest(group, member["member_id"]), coordinator)
                        log.info("%s left %s: its process is gone", member["member_id"], group)
            finally:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await admin.close()


@functools.cache
def _place() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return None


def _began(pid: int) -> str | None:
    """None of a process that cannot be looked at; "" of one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in ENDED else fields[START_FIELD]
