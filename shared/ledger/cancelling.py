"""How an event that has not run yet is kept from running: its id on a topic that every poller knows all of."""

from __future__ import annotations

import msgspec

_decoder = msgspec.msgpack.Decoder(list[str])


def encode_cancelled(event_ids: list[str]) -> bytes:
    return msgspec.msgpack.encode(event_ids)


def decode_cancelled(value: bytes) -> list[str]:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(value)
