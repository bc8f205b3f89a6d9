"""Zips that no tool writes: made by hand, record by record, or changed after they were made."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable

from tests.support import zip_of

Entry = tuple[str, bytes, int]
MIB = 1024 * 1024
UTF_8 = 0x800


def package(*entries: Entry, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Entries of (name, content, mode with its file type)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.external_attr = mode << 16
            info.create_system = 3
            info.compress_type = compression
            archive.writestr(info, content)
    return buffer.getvalue()


def link(name: str, target: str) -> Entry:
    return name, target.encode(), stat.S_IFLNK | 0o777


def file(name: str, content: bytes = b"x", mode: int = 0o644) -> Entry:
    return name, content, stat.S_IFREG | mode


def raw_zip(names: Iterable[bytes], *, flags: int = 0, content: bytes = b"") -> bytes:
    """A stored file by each of these names, whatever they are."""
    local, directory, count = bytearray(), bytearray(), 0
    checksum, size = zlib.crc32(content), len(content)
    for name in names:
        common = struct.pack("<HHHHIIIHH", flags, 0, 0, 0x21, checksum, size, size, len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<HH", 0x0314, 20) + common
        directory += struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, len(local)) + name
        local += b"PK\x03\x04" + struct.pack("<H", 20) + common + name + content
        count += 1
    return bytes(local + directory + end_record(count, len(directory), len(local)))


def end_record(count: int, directory_bytes: int, directory_at: int) -> bytes:
    return b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count & 0xFFFF, count & 0xFFFF, directory_bytes, directory_at, 0)


def entries_without_files(count: int) -> bytes:
    """A list of `count` entries that all point at the same few bytes: 47 bytes each."""
    local = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0x21, 0, 0, 0, 1, 0) + b"x"
    one = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 0x0314, 20, 0, 0, 0, 0x21, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    return local + one * count + end_record(count, len(one) * count, len(local))


def lying(archive: bytes, size_bytes: int) -> bytes:
    """The same archive, its first entry said to unpack to `size_bytes`."""
    changed = bytearray(archive)
    struct.pack_into("<I", changed, archive.index(b"PK\x03\x04") + 22, size_bytes)
    struct.pack_into("<I", changed, archive.index(b"PK\x01\x02") + 24, size_bytes)
    return bytes(changed)


def overlapping(copies: int) -> bytes:
    """Many entries that are the same compressed bytes."""
    one = package(file("a", bytes(MIB)))
    directory = one[one.index(b"PK\x01\x02") : one.index(b"PK\x05\x06")]
    at = one.index(b"PK\x01\x02")
    return one[:at] + directory * copies + end_record(copies, len(directory) * copies, at)


def encrypted() -> bytes:
    whole = bytearray(package(file("a")))
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    return bytes(whole)


def damaged() -> bytes:
    whole = bytearray(package(file("a", b"some content"), compression=zipfile.ZIP_STORED))
    whole[whole.index(b"some content")] ^= 1
    return bytes(whole)


def cut() -> bytes:
    return zip_of({"app.py": b"x" * 500})[:-10]


def deep(parts: int) -> str:
    return "/".join(["d"] * (parts - 1) + ["f"])


BY_RULE = {
    "an empty name": raw_zip([b"", b"f.py"]),
    "a name that begins with NUL": raw_zip([b"\0a", b"f.py"]),
    "a NUL in a name": raw_zip([b"a\0.py"]),
    "32,000 parts": raw_zip([b"/".join([b"d"] * 32_000)]),
    "985 parts": raw_zip([deep(985).encode()]),
    "65 parts": raw_zip([deep(65).encode()]),
    "1,025 bytes of path": raw_zip([b"/".join([b"n" * 204] * 5) + b"/"[:1] + b"n"]),
    "256 bytes of a name": raw_zip([b"n" * 256]),
    "a name that leaves": raw_zip([b"../x"]),
    "an absolute name": raw_zip([b"/etc/passwd"]),
    "a name that is only dots": raw_zip([b"."]),
    "behind 100 MB of zeros": package(file("zeros", bytes(100 * MIB)), file("../x")),
    "a million entries": entries_without_files(1_000_000),
    "90,000 directories in each other": raw_zip(b"t%04d/%b/x" % (i, b"/".join([b"d"] * 900)) for i in range(100)),
    "implied directories": raw_zip(b"%04d/%b/x" % (i, b"/".join([b"d"] * 60)) for i in range(1_700)),
    "encryption": encrypted(),
    "a device": package(("dev", b"", stat.S_IFCHR | 0o666)),
    "a pipe": package(("pipe", b"", stat.S_IFIFO | 0o666)),
    "bzip2": package(file("a"), compression=zipfile.ZIP_BZIP2),
    "lzma": package(file("a"), compression=zipfile.ZIP_LZMA),
    "a name twice": raw_zip([b"a", b"a"]),
    "a file that is a directory too": raw_zip([b"a", b"a/b"]),
    "a link to nowhere": package(link("l", "")),
    "a link to a very long name": package(link("l", "x" * 5_000)),
    "overlapping entries": overlapping(100),
}
UNREADABLE = {
    "no zip": b"not a zip",
    "nothing but a mark": b"PK\x03\x04",
    "a zip without its end": cut(),
    "a wrong checksum": damaged(),
    "less than it says": lying(package(file("zeros", bytes(8 * MIB))), 9 * MIB),
    "more than it says": lying(package(file("zeros", bytes(8 * MIB))), 10),
    "a name that is no UTF-8": raw_zip([b"\xff\xfe"], flags=UTF_8),
    "a list of entries that begins before the file": zip_of({"a": "b"})[:-10] + struct.pack("<IIH", 0xFFFF, 0, 0),
}
"""By what is wrong with each."""
