"""Where interpreters lie on the host, and which version each really is. Standard library only: set-up asks it, too."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

USR = Path("/usr")
PROBE_TIMEOUT_S = 10
PROBES_AT_ONCE = 4


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
    """Those prefixes that a zygote does not see anyway."""
    return tuple(prefix for prefix in prefixes if not prefix.is_relative_to(USR))


def programs_in(candidates: Iterable[Path]) -> list[Path]:
    """Those that can be executed, where links lead, each once."""
    found = (path.resolve() for path in candidates if path.is_file() and os.access(path, os.X_OK))
    return list(dict.fromkeys(found))


def versions_of(programs: Iterable[Path], *arguments: str) -> dict[Path, str]:
    """What each program answers to the arguments; nothing for one that cannot say. A file's name is no proof: a link, a
    shim or a broken installation has it, too."""
    wanted = list(programs)
    with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
        answers = pool.map(lambda program: _ask(program, program.stat().st_mtime_ns, arguments), wanted)
        return {program: answer for program, answer in zip(wanted, answers, strict=True) if answer}


@functools.lru_cache(maxsize=256)
def _ask(program: Path, _changed_ns: int, arguments: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
