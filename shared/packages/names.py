"""From the name that an entry has in a zip to a path below a directory."""

from __future__ import annotations

import zipfile

from shared.packages.refusals import PackageRefusedError, shown

PATH_BYTES_MAX = 1_024
PATH_PARTS_MAX = 64
PART_BYTES_MAX = 255
_UTF_8 = 0x800


def path_of(entry: zipfile.ZipInfo) -> str:
    """The entry's path without empty and `.` parts; empty for the root itself. Raises PackageRefusedError."""
    name = _decoded(entry)
    if not name or "\0" in name:
        raise PackageRefusedError(f"{shown(name)} is no name for an entry")
    if name.startswith("/"):
        raise PackageRefusedError(f"{shown(name)} is not a relative name")
    if len(name.encode()) > PATH_BYTES_MAX:
        raise PackageRefusedError(f"{shown(name)} is longer than {PATH_BYTES_MAX} bytes")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PackageRefusedError(f"{shown(name)} leaves the package")
    if len(parts) > PATH_PARTS_MAX:
        raise PackageRefusedError(f"{shown(name)} is deeper than {PATH_PARTS_MAX} directories")
    if any(len(part.encode()) > PART_BYTES_MAX for part in parts):
        raise PackageRefusedError(f"{shown(name)} has a part of more than {PART_BYTES_MAX} bytes")
    return "/".join(parts)


def _decoded(entry: zipfile.ZipInfo) -> str:
    """Names without the mark for UTF-8 are UTF-8 all the same from many a tool, code page 437 from the others."""
    # As the archive has it: what zipfile calls the file name ends at the first NUL.
    name = entry.orig_filename
    if entry.flag_bits & _UTF_8 or name.isascii():
        return name
    try:
        return name.encode("cp437").decode()
    except UnicodeError:
        return name
