"""The cgroups of workers that died, which are nobody's: found by their names, removed once no process is left in them.

A worker's own folder names its process and when that began, and is locked while it lives: so it is known for alive by a worker
in another pid namespace, too, and when the host's clock was set meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterator

import psutil

_BASE_NAME = re.compile(r"lambdad-(\d+)-(\d+)-\d+")
RETRY_INTERVAL_S = 5.0
_TRIES = 12
"""Processes of a dead worker's sandboxes may take a while to end: the kernel gives their memory back first."""


def base_name(number: int) -> str:
    """Of a folder of this process's. number: another for each."""
    return f"lambdad-{os.getpid()}-{_started_at(os.getpid())}-{number}"


def hold(base: str) -> int:
    """Show that it is a living worker's, until the descriptor is closed. Raises OSError."""
    descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def tidy_up(tops: list[str], stop: threading.Event) -> None:
    """Remove what dead workers left anywhere on the host: a worker's successor may have another parent, for each login and
    each start of a service has one of its own. tops: where hierarchies are mounted. Goes on until nothing is left, for a
    minute at most, or until `stop` is set: call it in a thread."""
    for _ in range(_TRIES):
        if remove_below(tops) or stop.wait(RETRY_INTERVAL_S):
            return


def remove_below(tops: list[str]) -> bool:
    """False while something is left of one."""
    gone = True
    for base in (base for top in tops for base in _bases_below(top)):
        try:
            if _is_dead(base):
                gone &= _remove(base)
        except FileNotFoundError:
            continue  # Another worker removes them, too.
        except OSError:
            gone = False
    return gone


def _bases_below(top: str) -> Iterator[str]:
    for folder, names, _files in os.walk(top):
        yield from (f"{folder}/{name}" for name in names if _BASE_NAME.fullmatch(name))
        names[:] = [name for name in names if not _BASE_NAME.fullmatch(name)]


def _is_dead(base: str) -> bool:
    """Raises OSError."""
    found = _BASE_NAME.fullmatch(os.path.basename(base))
    assert found is not None
    try:
        if abs(_started_at(int(found[1])) - int(found[2])) <= 100:
            return False
    except psutil.NoSuchProcess:
        pass
    descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove(base: str) -> bool:
    """The kernel removes what is empty alone. Raises OSError."""
    gone = True
    for folder in (*(entry.path for entry in os.scandir(base) if entry.is_dir()), base):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            gone = False
    return gone


def _started_at(pid: int) -> int:
    """In hundredths of a second, by the clock as it is now. Raises psutil.NoSuchProcess."""
    return int(psutil.Process(pid).create_time() * 100)
