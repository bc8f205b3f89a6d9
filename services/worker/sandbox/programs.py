"""Which files of a package or a layer count as programs."""

from __future__ import annotations

import stat
from pathlib import Path


def is_program(path: Path) -> bool:
    """A link counts as a program: where it leads is found in the sandbox, and nowhere else is it followed."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISLNK(mode) or (stat.S_ISREG(mode) and mode & 0o111 != 0)
