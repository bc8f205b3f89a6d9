"""Messages of `application/vnd.amazon.eventstream`, as a service sends them.

A message is: u32 its length, u32 length of the headers, u32 CRC of these eight bytes, headers, payload, u32 CRC of all before.
Source: "Event stream encoding" in the Smithy specification.
"""

from __future__ import annotations

import struct
import zlib

CONTENT_TYPE = "application/vnd.amazon.eventstream"
OCTETS = "application/octet-stream"
PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
"""Of one message; larger ones are refused by clients."""

_LENGTHS = struct.Struct(">II")
_CRC = struct.Struct(">I")
_STRING = 7


def event(kind: str, content_type: str, payload: bytes) -> bytes:
    """One message of type event. kind: the member of the operation's event stream."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"a message of {len(payload)} bytes; at most {PAYLOAD_BYTES_MAX} are allowed")
    headers = b"".join(
        (_header(":event-type", kind), _header(":content-type", content_type), _header(":message-type", "event"))
    )
    prelude = _LENGTHS.pack(16 + len(headers) + len(payload), len(headers))
    message = b"".join((prelude, _CRC.pack(zlib.crc32(prelude)), headers, payload))
    return message + _CRC.pack(zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    return struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _STRING, len(value)) + value.encode()
