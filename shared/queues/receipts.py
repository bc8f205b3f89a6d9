"""Receipt handles: which receive of which message of which queue one is of."""

from __future__ import annotations

import binascii
import re
from typing import Self

import msgspec

HANDLE_CHARACTERS_MAX = 1_024
_RECEIPT = re.compile(rb"([^ ]+) (\d{1,20}-\d{1,20}) (\d{1,10})")


class Receipt(msgspec.Struct, frozen=True):
    """stream: of the queue. entry: of the message in it. count: of receives, this one included."""

    stream: str
    entry: str
    count: int

    def handle(self) -> str:
        return binascii.b2a_base64(f"{self.stream} {self.entry} {self.count}".encode(), newline=False).decode()

    @classmethod
    def of(cls, handle: str) -> Self | None:
        """None when it is no receipt handle."""
        if len(handle) > HANDLE_CHARACTERS_MAX:
            return None
        try:
            found = _RECEIPT.fullmatch(binascii.a2b_base64(handle, strict_mode=True))
            return None if found is None else cls(found[1].decode(), found[2].decode(), int(found[3]))
        except ValueError:
            return None
