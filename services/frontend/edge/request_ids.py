"""Request ids: version 4 UUIDs, made a few hundred at a time: one system call, and little work for a request itself.

They begin with the time in milliseconds at which the few hundred were made and are random from there on (74 bits): what is kept
by request id, such as the ledger's rows, is then kept together that belongs to one time.
"""

from __future__ import annotations

import os
import time

BATCH = 256
RANDOM_BYTES = 10
_VARIANTS = "89ab"


class RequestIds:
    """Calling it gives the next id, e.g. `c6af9ac6-7b61-4e6b-8d0a-3f1c2b5d7e90`."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: list[str] = []

    def __call__(self) -> str:
        if not self._ready:
            random = os.urandom(RANDOM_BYTES * BATCH)
            now = f"{time.time_ns() // 1_000_000:012x}"
            at = f"{now[-12:-4]}-{now[-4:]}"
            self._ready = [_uuid(at, random[each : each + RANDOM_BYTES]) for each in range(0, len(random), RANDOM_BYTES)]
        return self._ready.pop()


def _uuid(at: str, raw: bytes) -> str:
    text = raw.hex()
    return f"{at}-4{text[1:4]}-{_VARIANTS[raw[2] & 3]}{text[5:8]}-{text[8:]}"
