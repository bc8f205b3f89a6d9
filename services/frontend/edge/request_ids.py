"""Request ids: random version 4 UUIDs, made a few hundred at a time: one system call, and little work for a request itself."""

from __future__ import annotations

import os

BATCH = 256
_VARIANTS = "89ab"


class RequestIds:
    """Calling it gives the next id, e.g. `c6af9ac6-7b61-4e6b-8d0a-3f1c2b5d7e90`."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: list[str] = []

    def __call__(self) -> str:
        if not self._ready:
            random = os.urandom(16 * BATCH)
            self._ready = [_uuid(random[at : at + 16]) for at in range(0, len(random), 16)]
        return self._ready.pop()


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANTS[raw[8] & 3]}{text[17:20]}-{text[20:]}"
