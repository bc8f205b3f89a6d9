"""Folders in the checkout's .runtimes, each made beside its place and moved there whole: a worker never finds half of one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.bootstrap import is_open, open_to_functions, say, stamp, stamped


@contextmanager
def made_beside(target: Path, step: str, digest: str) -> Iterator[Path | None]:
    """An empty folder to fill, which then takes the target's place; None where that is as it should be. digest: of what it is
    made from."""
    if stamped(target, step) == digest and is_open(target):
        say(f"{target.name} is installed")
        yield None
        return
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        stamp(partial, step, digest)
        open_to_functions(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
