"""The Pythons of a host. Standard library only: set-up asks it, too, which of them need a runtime client."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from services.worker.runtimes.host import own_interpreter, programs_in, versions_of

MINORS = range(8, 16)
INTERPRETERS = "interpreters"
"""Folder of the fetched ones beside the runtime clients."""
_VERSION = ("-I", "-S", "-c", "import sys; print('python%d.%d' % sys.version_info[:2])")


def find_interpreters(installed: Path | None = None) -> dict[str, Path]:
    """{"python3.12": its executable}, each of the version that it says. installed: folder of those that `lambdad runtimes
    install` fetched.

    The one that the services run on comes first: its code is in the processor's caches, and a version manager's is slower
    unless it was told to optimise. A version manager's own folder wins over PATH, whose entries may be shims.
    """
    candidates = {f"python3.{minor}": programs_in(_candidates(minor, installed)) for minor in MINORS}
    says = versions_of(dict.fromkeys(paths[0] for paths in candidates.values() if paths), *_VERSION)
    found: dict[str, Path] = {}
    for name, paths in candidates.items():
        for path in paths:
            # The first of a name is nearly always right; the others are asked when it is not.
            if (says.get(path) or versions_of([path], *_VERSION).get(path)) == name:
                found[name] = path
                break
    return found


def _candidates(minor: int, installed: Path | None) -> list[Path]:
    name = f"python3.{minor}"
    home = Path(os.environ.get("HOME") or Path.home())
    path = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    shims = [folder for folder in path if folder.name == "shims"]
    pyenvs = [Path(os.environ.get("PYENV_ROOT") or home / ".pyenv"), *(folder.parent for folder in shims)]
    managed = [*(root / "versions" for root in pyenvs), home / ".local/share/uv/python", *([installed] if installed else [])]
    folders = [*(folder for folder in path if folder not in shims), Path("/usr/local/bin"), Path("/usr/bin")]
    versions = [
        folder / "bin" / name
        for root in managed
        for pattern in (f"3.{minor}.*", f"cpython-3.{minor}.*")
        for folder in sorted(root.glob(pattern), key=_version, reverse=True)
    ]
    own = [own_interpreter()] if sys.version_info[1] == minor else []
    return [*own, *versions, *(folder / name for folder in folders)]


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name))
