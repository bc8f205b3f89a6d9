"""The part of CBOR that Smithy's protocol uses: numbers, texts, bytes, lists, maps, and tag 1 for a moment in Unix seconds.

Source: RFC 8949. What comes in may have indefinite lengths and half-precision numbers; what goes out has neither.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

DEPTH_MAX = 64
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG, _OTHER = range(8)
_INDEFINITE = 31
_BREAK = b"\xff"
_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_DOUBLE = struct.Struct(">Bd")
_EPOCH = 1


class Moment(msgspec.Struct, frozen=True):
    """Tag 1: Unix seconds."""

    seconds: float


class CborError(ValueError):
    """What came in is no CBOR, or none of the part that is used."""


def encode(value: Any) -> bytes:
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def _write(value: Any, parts: list[bytes]) -> None:
    if value is None:
        parts.append(b"\xf6")
    elif isinstance(value, bool):
        parts.append(b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        parts.append(_head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value))
    elif isinstance(value, float):
        parts.append(_DOUBLE.pack(0xFB, value))
    elif isinstance(value, str):
        text = value.encode()
        parts += (_head(_TEXT, len(text)), text)
    elif isinstance(value, bytes | bytearray | memoryview):
        parts += (_head(_BYTES, len(value)), bytes(value))
    elif isinstance(value, Moment):
        parts.append(_head(_TAG, _EPOCH))
        _write(value.seconds, parts)
    elif isinstance(value, dict):
        parts.append(_head(_MAP, len(value)))
        for key, item in value.items():
            _write(key, parts)
            _write(item, parts)
    else:
        parts.append(_head(_LIST, len(value)))
        for item in value:
            _write(item, parts)


def _head(major: int, size: int) -> bytes:
    if size < 24:
        return bytes((major << 5 | size,))
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if size < 1 << 8 * width:
            return bytes((major << 5 | info,)) + size.to_bytes(width, "big")
    raise CborError("a number of more than 64 bits")


def decode(data: bytes) -> Any:
    """One item, and nothing behind it. Raises CborError."""
    reader = _Reader(data)
    value = reader.item(0)
    if reader.at != len(data):
        raise CborError("there is more behind its end")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def item(self, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise CborError("it is nested too deeply")
        first = self._take(1)[0]
        major, info = first >> 5, first & 31
        if major == _UNSIGNED:
            return self._number(info)
        if major == _NEGATIVE:
            return -1 - self._number(info)
        if major == _BYTES:
            return self._string(info, _BYTES)
        if major == _TEXT:
            try:
                return self._string(info, _TEXT).decode()
            except UnicodeDecodeError as error:
                raise CborError("a text is no UTF-8") from error
        if major == _LIST:
            return self._list(info, depth)
        if major == _MAP:
            return self._map(info, depth)
        if major == _TAG:
            return self._tagged(info, depth)
        if info in _SIMPLE:
            return _SIMPLE[info]
        form = _FLOATS.get(info)
        if form is None:
            raise CborError("an item of an unknown kind")
        return form.unpack(self._take(form.size))[0]

    def _take(self, size: int) -> bytes:
        taken = self._data[self.at : self.at + size]
        if len(taken) != size:
            raise CborError("it ends within an item")
        self.at += size
        return taken

    def _number(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise CborError("a length of an unknown kind")
        return int.from_bytes(self._take(1 << info - 24), "big")

    def _size(self, info: int) -> int:
        """Of a list or a map: every item takes a byte at least, so that a lie about it costs nothing."""
        size = self._number(info)
        if size > len(self._data) - self.at:
            raise CborError("it ends within an item")
        return size

    def _ended(self) -> bool:
        if self._data[self.at : self.at + 1] != _BREAK:
            return False
        self.at += 1
        return True

    def _string(self, info: int, major: int) -> bytes:
        if info != _INDEFINITE:
            return self._take(self._number(info))
        parts = []
        while not self._ended():
            first = self._take(1)[0]
            if first >> 5 != major or first & 31 == _INDEFINITE:
                raise CborError("a text or bytes in pieces of another kind")
            parts.append(self._take(self._number(first & 31)))
        return b"".join(parts)

    def _list(self, info: int, depth: int) -> list[Any]:
        if info != _INDEFINITE:
            return [self.item(depth + 1) for _ in range(self._size(info))]
        found = []
        while not self._ended():
            found.append(self.item(depth + 1))
        return found

    def _map(self, info: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        left = -1 if info == _INDEFINITE else self._size(info)
        while left != 0 and not (left < 0 and self._ended()):
            key = self.item(depth + 1)
            if not isinstance(key, str):
                raise CborError("a map with a key that is no text")
            found[key] = self.item(depth + 1)
            left -= 1
        return found

    def _tagged(self, info: int, depth: int) -> Moment:
        tag, value = self._number(info), self.item(depth + 1)
        if tag != _EPOCH or isinstance(value, bool) or not isinstance(value, int | float):
            raise CborError("a tag that is not used")
        return Moment(value)
