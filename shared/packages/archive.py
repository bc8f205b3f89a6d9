"""A deployment package, which anybody may have written, as what it is to become: directories, files and links.

Refused: names that leave the tree (absolute, `..`) or that a file system could not keep, device nodes, pipes and sockets, a
file given twice, entries that are encrypted, overlap, or are compressed in another way than deflate, and more bytes or
entries than allowed. Bytes are counted while they are unpacked: what a zip says of its sizes proves nothing. A link may lead
anywhere: only the sandbox follows it, and there is nothing in the sandbox that its function may not reach without a link.

The work is bounded by the package's bytes, by those it unpacks to and by its entries; memory by one chunk and the entries.
Synchronous, and for a large package seconds of
an interpreter's time: reader.py has it done elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import stat
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

from shared.packages import central_directory
from shared.packages.names import path_of
from shared.packages.refusals import PackageRefusedError, PackageTooLargeError, PackageUnreadableError, shown

ENTRIES_MAX = 100_000
"""Files, links and directories, those included that a file's name implies: each of them costs the worker an inode."""
LINK_TARGET_BYTES_MAX = 4_095
CHUNK_BYTES = 256 * 1024
FILE_MODE_DEFAULT = 0o644
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_LOCAL_HEADER_BYTES = 30


class Contents(NamedTuple):
    """What a package unpacks to. entries: as ENTRIES_MAX counts them."""

    unzipped_bytes: int
    entries: int


class File(NamedTuple):
    """A file, or a link whose content is where it leads. mode: permission bits."""

    path: str
    mode: int
    entry: zipfile.ZipInfo


class Archive:
    """directories: parents first. Raises PackageRefusedError, also while contents are read; nothing else but MemoryError."""

    def __init__(self, package: bytes, unzipped_bytes_max: int, entries_max: int = ENTRIES_MAX) -> None:
        self.directories: dict[str, None] = {}
        self.files: dict[str, File] = {}
        self.links: dict[str, File] = {}
        self._bytes_max = unzipped_bytes_max
        self._entries_max = entries_max
        self._bytes = 0
        central_directory.check(package, entries_max)
        with _refusing():
            self._zip = zipfile.ZipFile(io.BytesIO(package))
        self.declared_bytes = sum(entry.file_size for entry in self._zip.infolist())
        if self.declared_bytes > unzipped_bytes_max:
            raise self._too_large()
        for entry in self._zip.infolist():
            self._take(entry)
        self._check_overlaps()

    @property
    def contents(self) -> Contents:
        """What was read so far."""
        return Contents(self._bytes, len(self.directories) + len(self.files) + len(self.links))

    def read(self, file: File) -> Iterator[bytes]:
        """A file's bytes in chunks; the last one was compared with the checksum."""
        size_bytes = 0
        with _refusing():
            source = self._zip.open(file.entry)
        while True:
            with _refusing():
                chunk = source.read(CHUNK_BYTES)
            if not chunk:
                break
            size_bytes += len(chunk)
            self._bytes += len(chunk)
            if self._bytes > self._bytes_max:
                raise self._too_large()
            yield chunk
        if size_bytes != file.entry.file_size:
            raise PackageUnreadableError(f"{shown(file.path)} is not as long as the package says")

    def link_target(self, link: File) -> bytes:
        if link.entry.file_size > LINK_TARGET_BYTES_MAX:
            raise PackageRefusedError(f"{shown(link.path)} is a link to a name that is too long")
        target = b"".join(self.read(link))
        if not target or b"\0" in target:
            raise PackageRefusedError(f"{shown(link.path)} is a link to nowhere")
        return target

    def _take(self, entry: zipfile.ZipInfo) -> None:
        path = path_of(entry)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if entry.flag_bits & _ENCRYPTED:
            raise PackageRefusedError(f"{shown(path)} is encrypted")
        if entry.orig_filename.endswith("/") or kind == stat.S_IFDIR:
            self._take_directory(path)
            return
        if entry.compress_type not in _COMPRESSIONS:
            raise PackageRefusedError(f"{shown(path)} is compressed in a way other than deflate")
        if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
            raise PackageRefusedError(f"{shown(path)} is neither a file, a directory nor a link")
        if not path:
            raise PackageRefusedError("an entry has no name")
        if path in self.files or path in self.links or path in self.directories:
            raise PackageRefusedError(f"{shown(path)} is in the package twice")
        self._take_directory(path.rpartition("/")[0])
        (self.links if kind == stat.S_IFLNK else self.files)[path] = File(path, _mode(entry), entry)
        self._check_entries()

    def _take_directory(self, path: str) -> None:
        """The directory and those above it."""
        missing: list[str] = []
        while path and path not in self.directories:
            if path in self.files or path in self.links:
                raise PackageRefusedError(f"{shown(path)} is in the package both as a file and as a directory")
            missing.append(path)
            path = path.rpartition("/")[0]
        for one in reversed(missing):
            self.directories[one] = None
        self._check_entries()

    def _check_entries(self) -> None:
        if len(self.directories) + len(self.files) + len(self.links) > self._entries_max:
            raise PackageRefusedError(f"the package has more than {self._entries_max} entries")

    def _check_overlaps(self) -> None:
        """Entries that share bytes would be read again and again: work without a bound by the package's size."""
        end = 0
        for file in sorted([*self.files.values(), *self.links.values()], key=lambda file: file.entry.header_offset):
            if file.entry.header_offset < end:
                raise PackageRefusedError(f"{shown(file.path)} overlaps another entry")
            end = file.entry.header_offset + _LOCAL_HEADER_BYTES + file.entry.compress_size
        if end > self._zip.start_dir:
            raise PackageUnreadableError("the package is not all there")

    def _too_large(self) -> PackageTooLargeError:
        return PackageTooLargeError(f"the package unpacks to more than {self._bytes_max} bytes")


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Whatever zipfile raises is about what a stranger wrote; its errors for that are no closed list."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise PackageUnreadableError(f"the package is not a readable zip file: {shown(str(error))}") from error


def _mode(entry: zipfile.ZipInfo) -> int:
    """The archive's permission bits, readable by everyone, without set-id bits and without write access for others."""
    mode = stat.S_IMODE(entry.external_attr >> 16) or FILE_MODE_DEFAULT
    mode = (mode & 0o755) | 0o444
    return mode | 0o011 if mode & 0o100 else mode
