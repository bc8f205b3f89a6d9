"""The Pythons of a host. Standard library only: set-up asks it, too, which of them need a runtime client."""

from __future__ import annotations

import os
import re
from pathlib import Path

MINORS = range(8, 15)


def find_interpreters() -> dict[str, Path]:
    """{"python3.12": its executable}. A version manager's own folder wins over PATH, whose entries may be shims."""
    home = Path(os.environ.get("HOME") or Path.home())
    path = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    shims = [folder for folder in path if folder.name == "shims"]
    pyenvs = [Path(os.environ.get("PYENV_ROOT") or home / ".pyenv"), *(folder.parent for folder in shims)]
    managed = [*(root / "versions" for root in pyenvs), home / ".local/share/uv/python"]
    folders = [*(folder for folder in path if folder not in shims), Path("/usr/local/bin"), Path("/usr/bin")]
    found: dict[str, Path] = {}
    for minor in MINORS:
        name = f"python3.{minor}"
        candidates = [
            folder / "bin" / name
            for root in managed
            for pattern in (f"3.{minor}.*", f"cpython-3.{minor}.*")
            for folder in sorted(root.glob(pattern), key=_version, reverse=True)
        ]
        candidates += [folder / name for folder in folders]
        for candidate in candidates:
            if candidate.is_file() and os.access(candidate, os.X_OK):
                found[name] = candidate.resolve()
                break
    return found


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name))
