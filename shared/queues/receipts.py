"""Receipt handles: which receive of which message of which queue one is of."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Self

import msgspec

HANDLE_CHARACTERS_MAX = 1_024
_ENTRY = re.compile(r"\d{1,20}-\d{1,20}")


class Receipt(msgspec.Struct, frozen=True):
    """stream: of the queue. entry: of the message in it. count: of receives, this one included."""

    stream: str
    entry: str
    count: int

    def handle(self) -> str:
        return base64.b64encode(f"{self.stream} {self.entry} {self.count}".encode()).decode()

    @classmethod
    def of(cls, handle: str) -> Self | None:
        """None when it is no receipt handle."""
        if len(handle) > HANDLE_CHARACTERS_MAX:
            return None
        try:
            stream, entry, count = base64.b64decode(handle, validate=True).decode().split(" ")
        except (binascii.Error, ValueError):
            return None
        if not _ENTRY.fullmatch(entry) or not count.isascii() or not count.isdecimal() or len(count) > 10:
            return None
        return cls(stream, entry, int(count))
