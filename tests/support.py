"""What tests of several areas share: packages made in memory, and waiting for a condition with a deadline."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from deploy.local.launch import die_with_parent
from deploy.local.runtimes import example_runtime

T = TypeVar("T")
ROLE = "arn:aws:iam::000000000000:role/test"
PYTHON = example_runtime()
"""The runtime of tests whose functions really run: one that is there. What needs another says so: tests/needs.py."""
PATIENCE_S = 30.0
"""How long a test waits for what is soon there on an idle machine: no measure of speed, and far from any that is promised."""
NODE = "nodejs24.x"
"""The Node.js that set-up brings where it can be had; tests say that they need it all the same."""


def zip_of(files: Mapping[str, str | bytes]) -> bytes:
    """A package with these files, readable by everyone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=(2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def zip_folder(folder: Path) -> bytes:
    return zip_of({p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()})


def mounts() -> list[str]:
    """Lines of mountinfo, but for the network namespaces that tests beside this one name (`ip netns`)."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "/run/netns" not in line]


def mortal() -> Callable[[], None]:
    """`preexec_fn` of a child that is to die with this process, however this one ends. Called by the main thread."""
    return partial(die_with_parent, os.getpid())


def wait_until(condition: Callable[[], T], *, deadline_s: float = PATIENCE_S, poll_s: float = 0.05, what: str = "") -> T:
    """The condition's first truthy value; AssertionError when there is none in time."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what or condition}"
        time.sleep(poll_s)
