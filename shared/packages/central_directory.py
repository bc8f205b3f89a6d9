"""Bounds a zip's list of entries before anything is made of it: zipfile makes an object of each, however many there are."""

from __future__ import annotations

import struct

from shared.packages.refusals import PackageRefusedError, PackageUnreadableError

DIRECTORY_BYTES_MAX = 32 * 1024 * 1024
_ENTRY = b"PK\x01\x02"
_END = b"PK\x05\x06"
_END_BYTES = 22
_COMMENT_BYTES_MAX = 65_536
_LOCATOR64 = b"PK\x06\x07"
_LOCATOR64_BYTES = 20
_END64 = b"PK\x06\x06"
_END64_BYTES = 56


def check(package: bytes, entries_max: int) -> None:
    """Raises PackageUnreadableError without a list of entries, PackageRefusedError for one that is too long."""
    end = _end_record(package)
    size_bytes, at = _u32(package, end + 12), end
    if package.startswith(_LOCATOR64, max(0, end - _LOCATOR64_BYTES)):
        at = end - _LOCATOR64_BYTES - _END64_BYTES
        # Readers differ in where else they would look for it: then they would read different lists.
        if at < 0 or not package.startswith(_END64, at):
            raise PackageUnreadableError("the package's zip64 record is not where it belongs")
        size_bytes = struct.unpack_from("<Q", package, at + 40)[0]
    if size_bytes > at:
        raise PackageUnreadableError("the package's list of entries is not all there")
    # Each entry begins with the mark, so there are no more entries than marks.
    if size_bytes > DIRECTORY_BYTES_MAX or package.count(_ENTRY, at - size_bytes, at) > entries_max:
        raise PackageRefusedError(f"the package has more than {entries_max} entries")


def _end_record(package: bytes) -> int:
    """Where the last record is: at the end, or before a comment at the end."""
    last = len(package) - _END_BYTES
    if last >= 0 and package.startswith(_END, last) and package.endswith(b"\0\0"):
        return last
    found = package.rfind(_END, max(0, last - _COMMENT_BYTES_MAX))
    if found < 0 or found > last:
        raise PackageUnreadableError("the package is not a zip archive")
    return found


def _u32(package: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", package, at)[0])
