"""A cgroup v2 tree as a kernel makes it, in an ordinary folder: what a new cgroup's files hold, and what may be written to them.

Of a cgroup that memory, cpu and pids are delegated to, by the kernel's Documentation/admin-guide/cgroup-v2.rst. What every
cgroup has, whatever it is delegated, is compared with this machine's where it has v2 (test_cgroup_v2.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

FILES = {
    "cgroup.controllers": "cpu memory pids\n",
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cgroup.freeze": "0\n",
    "cgroup.kill": "",
    "cgroup.procs": "",
    "cgroup.subtree_control": "\n",
    "cpu.max": "max 100000\n",
    "cpu.weight": "100\n",
    "memory.current": "0\n",
    "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
    "memory.high": "max\n",
    "memory.max": "max\n",
    "memory.peak": "0\n",
    "memory.stat": "anon 0\nfile 0\nkernel 0\nshmem 0\ninactive_anon 0\nactive_anon 0\ninactive_file 0\nactive_file 0\n",
    "memory.swap.max": "max\n",
    "pids.current": "0\n",
    "pids.max": "max\n",
}
_PAGE_BYTES = 4096


def _bytes(text: str, _before: str) -> str:
    """Whole pages, rounded down."""
    return text if text == "max" else str(int(text) // _PAGE_BYTES * _PAGE_BYTES)


def _cpu_max(text: str, before: str) -> str:
    """The period stays where it is left out. Source: Documentation/admin-guide/cgroup-v2.rst."""
    quota, _, period = text.partition(" ")
    period = period or before.split()[1]
    if quota != "max" and not int(quota) >= 1_000:
        raise ValueError
    if not 1_000 <= int(period) <= 1_000_000:
        raise ValueError
    return f"{quota} {period}"


def _controllers(text: str, before: str) -> str:
    found = set(before.split())
    for word in text.split():
        if word[1:] not in ("cpu", "memory", "pids"):
            raise ValueError
        found = found | {word[1:]} if word[0] == "+" else found - {word[1:]}
    return " ".join(sorted(found))


def _within(least: int, most: int) -> Callable[[str, str], str]:
    def check(text: str, _before: str) -> str:
        if not least <= int(text) <= most:
            raise ValueError
        return text

    return check


WRITTEN: dict[str, Callable[[str, str], str]] = {
    "cgroup.freeze": _within(0, 1),
    "cgroup.subtree_control": _controllers,
    "cpu.max": _cpu_max,
    "cpu.weight": _within(1, 10_000),
    "memory.high": _bytes,
    "memory.max": _bytes,
    "memory.peak": lambda _text, before: before,
    "memory.swap.max": _bytes,
    "pids.max": lambda text, _before: text if text == "max" else str(int(text)),
}


class Kernel:
    """written: every (folder below the root, file, text), in order. Stands in for `os.mkdir` and for `cgroup_files.write`, below
    the root alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: list[tuple[str, str, str]] = []
        self._make, self._remove = os.mkdir, os.rmdir
        self.mkdir(str(root), 0o755)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        self._make(path, mode)
        if Path(path).is_relative_to(self.root):
            for name, text in FILES.items():
                Path(path, name).write_text(text)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        if not (exist_ok and os.path.isdir(path)):
            self.mkdir(path)

    def rmdir(self, path: str) -> None:
        """The files of a cgroup go with it."""
        for name in FILES:
            Path(path, name).unlink()
        self._remove(path)

    def write(self, folder: str, name: str, text: str) -> None:
        file = Path(folder, name)
        if not file.exists():
            raise FileNotFoundError(2, "No such file or directory", str(file))
        assert name in WRITTEN, f"{name} cannot be written, or nobody knows how"
        assert re.fullmatch(r"[a-z0-9 +-]+", text), text
        try:
            after = WRITTEN[name](text, file.read_text().strip())
        except ValueError:
            raise OSError(22, "Invalid argument", str(file)) from None
        file.write_text(after + "\n")
        self.written.append((os.path.relpath(folder, self.root), name, text))

    def holds(self, folder: str, name: str) -> str:
        return (self.root / folder / name).read_text().strip()
