"""Request ids: random version 4 UUIDs, made from one system call per few hundred."""

from __future__ import annotations

import os

BATCH = 256
_VARIANTS = "89ab"


class RequestIds:
    """Calling it gives the next id, e.g. `c6af9ac6-7b61-4e6b-8d0a-3f1c2b5d7e90`."""

    __slots__ = ("_at", "_random")

    def __init__(self) -> None:
        self._random = b""
        self._at = 0

    def __call__(self) -> str:
        at = self._at
        if at >= len(self._random):
            self._random = os.urandom(16 * BATCH)
            at = 0
        self._at = at + 16
        raw = self._random[at : at + 16]
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANTS[raw[8] & 3]}{text[17:20]}-{text[20:]}"
