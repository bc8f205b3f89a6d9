"""Where interpreters lie on the host."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

USR = Path("/usr")


def architecture() -> str:
    """Of this host, as functions name it."""
    machine = platform.machine().lower()
    return {"aarch64": "arm64", "amd64": "x86_64"}.get(machine, machine)


def own_interpreter() -> Path:
    """The Python that the worker itself runs on, outside its virtual environment."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def prefix_of(executable: Path) -> Path:
    return executable.parent.parent


def beyond_usr(*prefixes: Path) -> tuple[Path, ...]:
    """Those prefixes that a sandbox does not see anyway."""
    return tuple(prefix for prefix in prefixes if not prefix.is_relative_to(USR))
