"""Unpacks a deployment package into a directory, or reads it as unpacking would.

What is unpacked is owned by us, readable by everyone, writable by nobody else, and has no set-user-id bits.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from shared.packages.archive import Archive, Contents, File
from shared.packages.refusals import UnpackError
from shared.packages.trees import remove_tree

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_MODE = 0o755


def read_through(archive: Archive) -> Contents:
    """Sees that all of it is there and sound. Raises PackageRefusedError."""
    for file in archive.files.values():
        for _ in archive.read(file):
            pass
    for link in archive.links.values():
        archive.link_target(link)
    return archive.contents


def unpack(archive: Archive, target: Path) -> Contents:
    """Unpack into the existing directory `target`, over what was unpacked there before: its files give way. Raises
    PackageRefusedError or UnpackError, after which `target` holds a part of the package and must be thrown away."""
    try:
        for directory in archive.directories:
            _make_directory(target / directory)
        for file in archive.files.values():
            _write(archive, file, target / file.path)
        # Links come last, so that nothing is ever written through one.
        for link in archive.links.values():
            _link(archive.link_target(link), target / link.path)
    except OSError as error:
        raise UnpackError(f"a package cannot be unpacked here: {error.strerror or error}") from error
    return archive.contents


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=_DIRECTORY_MODE)
    except FileExistsError:
        if stat.S_ISDIR(path.lstat().st_mode):
            return
        path.unlink()
        path.mkdir(mode=_DIRECTORY_MODE)
    path.chmod(_DIRECTORY_MODE)


def _write(archive: Archive, file: File, path: Path) -> None:
    try:
        fd = os.open(path, _NEW, 0o600)
    except FileExistsError:
        _make_way(path)
        fd = os.open(path, _NEW, 0o600)
    with open(fd, "wb", buffering=0) as out:
        for chunk in archive.read(file):
            out.write(chunk)
        os.fchmod(out.fileno(), file.mode)


def _link(target: bytes, path: Path) -> None:
    try:
        os.symlink(target, os.fsencode(path))
    except FileExistsError:
        _make_way(path)
        os.symlink(target, os.fsencode(path))


def _make_way(path: Path) -> None:
    """For what a later package has in an earlier one's place."""
    if stat.S_ISDIR(path.lstat().st_mode):
        problem = remove_tree(path)
        if problem is not None:
            raise problem
    else:
        path.unlink()
