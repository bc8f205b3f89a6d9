"""The children's log files: bounded by rotation, shown by `lambdad logs`."""

from __future__ import annotations

import shutil
import sys
import time
from datetime import datetime
from pathlib import Path

from deploy.local.log_times import written_at

LOG_BYTES_MAX = 16 * 1024**2
TAIL_BYTES = 2_000
FOLLOW_PERIOD_S = 0.25
SHOWN_LINES = 40
SHOWN_BYTES_MAX = 64 * 1024


def tail(path: Path, size_bytes: int = TAIL_BYTES) -> str:
    """The end of a log, whole lines. Empty when there is none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - size_bytes))
            data = file.read()
    except OSError:
        return ""
    if end > size_bytes:
        data = data.partition(b"\n")[2]
    return data.decode(errors="replace").rstrip()


def rotate(path: Path, bytes_max: int = LOG_BYTES_MAX) -> bool:
    """Keep the log under `bytes_max` and one older file beside it. Children hold the file open for appending, so it is copied
    and then cut, not renamed; lines written between the two steps are lost."""
    try:
        if path.stat().st_size <= bytes_max:
            return False
        shutil.copyfile(path, path.with_suffix(".log.1"))
        with path.open("r+b") as file:
            file.truncate(0)
    except OSError:
        return False
    return True


def show(directory: Path, names: list[str], *, lines: int | None, since: datetime | None, follow: bool) -> None:
    """Print the end of the named logs, and what is added to them while `follow`.

    lines: so many of each; SHOWN_LINES when nothing is said, as far back as logs are kept when there is a `since`.
    """
    paths = {name: directory / f"{name}.log" for name in names}
    positions: dict[str, int] = {}
    if lines is None and since is None:
        lines = SHOWN_LINES
    for name, path in paths.items():
        for line in _ending(path, lines, since):
            print(f"{name:<12} {line}")
        positions[name] = path.stat().st_size if path.exists() else 0
    while follow:
        sys.stdout.flush()
        time.sleep(FOLLOW_PERIOD_S)
        for name, path in paths.items():
            positions[name] = _print_new(name, path, positions[name])


def _ending(path: Path, lines: int | None, since: datetime | None) -> list[str]:
    kept = [line for part in (path.with_suffix(".log.1"), path) for line in tail(part, 2 * LOG_BYTES_MAX).splitlines()]
    if since is not None:
        at = next((at for at, line in enumerate(kept) if (when := written_at(line)) and when >= since), len(kept))
        kept = kept[at:]
    return kept if lines is None else kept[len(kept) - min(lines, len(kept)) :]


def _print_new(name: str, path: Path, position: int) -> int:
    try:
        size = path.stat().st_size
        if size < position:  # rotated
            position = 0
        if size == position:
            return position
        with path.open("rb") as file:
            file.seek(position)
            data = file.read(SHOWN_BYTES_MAX)
    except OSError:
        return position
    complete = data.rpartition(b"\n")[0] + b"\n" if b"\n" in data else data
    for line in complete.decode(errors="replace").splitlines():
        print(f"{name:<12} {line}")
    return position + len(complete)
