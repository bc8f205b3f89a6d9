"""Unpacks a deployment package, which anybody may have written, into a directory. Synchronous: call it in a thread.

Refused: names that leave the tree (absolute, `..`, through a link), links that lead out of it, device nodes, pipes and
sockets, a file given twice, encrypted or unusually compressed entries, and more bytes or entries than allowed (counted
while unpacking: what a zip says of its sizes proves nothing). What is unpacked is owned by us, readable by everyone,
writable by nobody else, and has no set-user-id bits.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from pathlib import Path

from shared.domain.errors import LambdadError

ENTRIES_MAX = 200_000
LINK_TARGET_BYTES_MAX = 4_096
CHUNK_BYTES = 256 * 1024
FILE_MODE_DEFAULT = 0o644
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


class PackageRefusedError(LambdadError):
    """The package must not be unpacked; the text says why."""


def unpack(package: bytes, target: Path, bytes_max: int) -> int:
    """Unpack into the existing empty directory `target`; returns the bytes written. Raises PackageRefusedError, after which
    `target` holds a part of the package and must be thrown away."""
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            return _Unpacking(archive, target, bytes_max).run()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        raise PackageRefusedError(f"the package is not a readable zip file: {error}") from error
    except OSError as error:
        raise PackageRefusedError(f"the package cannot be unpacked: {error.strerror or error}") from error


class _Unpacking:
    def __init__(self, archive: zipfile.ZipFile, target: Path, bytes_max: int) -> None:
        self._archive = archive
        self._target = target
        self._left = bytes_max
        self._bytes_max = bytes_max
        self._files: set[str] = set()
        self._directories: set[str] = set()
        self._links: dict[str, zipfile.ZipInfo] = {}

    def run(self) -> int:
        entries = self._archive.infolist()
        if len(entries) > ENTRIES_MAX:
            raise PackageRefusedError(f"the package has more than {ENTRIES_MAX} entries")
        for entry in entries:
            self._take(entry)
        # Links come last, so that nothing is ever written through one.
        for path, entry in self._links.items():
            self._make_link(path, entry)
        self._check_links()
        return self._bytes_max - self._left

    def _take(self, entry: zipfile.ZipInfo) -> None:
        if not entry.filename:
            # Also what zipfile makes of a name that begins with a NUL.
            raise PackageRefusedError("the package has an entry without a name")
        path = _safe_path(entry.filename)
        if entry.flag_bits & _ENCRYPTED:
            raise PackageRefusedError(f"{entry.filename!r} is encrypted")
        if entry.compress_type not in _COMPRESSIONS:
            raise PackageRefusedError(f"{entry.filename!r} is compressed in a way other than deflate")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if entry.is_dir() or kind == stat.S_IFDIR:
            self._make_directory(path)
        elif kind == stat.S_IFLNK:
            self._claim(path, entry.filename)
            self._links[path] = entry
        elif kind in (0, stat.S_IFREG):
            self._claim(path, entry.filename)
            self._write_file(path, entry)
        else:
            raise PackageRefusedError(f"{entry.filename!r} is neither a file, a directory nor a link")

    def _claim(self, path: str, name: str) -> None:
        if not path:
            raise PackageRefusedError(f"{name!r} is no name for a file")
        if path in self._files or path in self._directories:
            raise PackageRefusedError(f"{name!r} is in the package twice")
        self._make_directory(os.path.dirname(path))
        self._files.add(path)

    def _make_directory(self, path: str) -> None:
        if not path or path in self._directories:
            return
        if path in self._files:
            raise PackageRefusedError(f"{path!r} is in the package both as a file and as a directory")
        self._make_directory(os.path.dirname(path))
        made = self._target / path
        made.mkdir(mode=0o755)
        made.chmod(0o755)
        self._directories.add(path)

    def _write_file(self, path: str, entry: zipfile.ZipInfo) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._archive.open(entry) as source, open(os.open(self._target / path, flags, 0o600), "wb") as out:
            while chunk := source.read(CHUNK_BYTES):
                self._spend(len(chunk))
                out.write(chunk)
            os.fchmod(out.fileno(), _file_mode(entry))

    def _make_link(self, path: str, entry: zipfile.ZipInfo) -> None:
        with self._archive.open(entry) as source:
            raw = source.read(LINK_TARGET_BYTES_MAX + 1)
        self._spend(len(raw))
        link = os.fsdecode(raw)
        if not link or len(raw) > LINK_TARGET_BYTES_MAX or "\0" in link or link.startswith("/"):
            raise PackageRefusedError(f"{entry.filename!r} links to somewhere outside the package")
        os.symlink(link, self._target / path)

    def _check_links(self) -> None:
        """A link may lead through other links, so where each ends is looked up once all are there."""
        root = os.path.realpath(self._target)
        for path, entry in self._links.items():
            end = os.path.realpath(os.path.join(root, path))
            if end != root and not end.startswith(root + os.sep):
                raise PackageRefusedError(f"{entry.filename!r} links to somewhere outside the package")

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise PackageRefusedError(f"the package holds more than {self._bytes_max} bytes unzipped")


def _safe_path(name: str) -> str:
    """The entry's path without empty and `.` parts; empty for the root itself."""
    if name.startswith("/") or "\0" in name:
        raise PackageRefusedError(f"{name!r} is not a relative name")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PackageRefusedError(f"{name!r} leaves the package")
    return "/".join(parts)


def _file_mode(entry: zipfile.ZipInfo) -> int:
    """The archive's permission bits, readable by everyone, without set-id bits and without write access for others."""
    mode = stat.S_IMODE(entry.external_attr >> 16) or FILE_MODE_DEFAULT
    mode = (mode & 0o755) | 0o444
    return mode | 0o011 if mode & 0o100 else mode
