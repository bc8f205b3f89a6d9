"""What the ledger keeps of an error: one line that a person can search for."""

from __future__ import annotations

import msgspec

from shared.ledger.records import ERROR_CHARS_MAX

READ_BYTES_MAX = 64 * 1024
"""Of a function's error document: a larger one is a stack trace, and is kept as it begins."""


class _Document(msgspec.Struct, rename="camel"):
    error_message: str | None = None
    error_type: str | None = None


def error_line(payload: bytes) -> str:
    """`Type: message` of a function's error document; the beginning of anything else."""
    if len(payload) <= READ_BYTES_MAX:
        try:
            document = msgspec.json.decode(payload, type=_Document)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        else:
            named = [part for part in (document.error_type, document.error_message) if part]
            if named:
                return ": ".join(named)[:ERROR_CHARS_MAX]
    return payload[: ERROR_CHARS_MAX * 4].decode(errors="replace")[:ERROR_CHARS_MAX]
