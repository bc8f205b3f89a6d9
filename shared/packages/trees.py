"""Removes directory trees that strangers filled. Standard library only."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def remove_tree(tree: Path, stop: threading.Event | None = None) -> OSError | None:
    """Of any depth: without recursion, and never through a link. What is still there when `stop` is set is left. Answers the
    last problem, if there was any. Synchronous: call it in a thread."""
    directories: list[str] = []
    pending = [os.fspath(tree)]
    problem: OSError | None = None
    while pending:
        if stop is not None and stop.is_set():
            return problem
        directory = pending.pop()
        directories.append(directory)
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        os.unlink(entry.path)
        except OSError as error:
            problem = error
    for directory in reversed(directories):
        try:
            os.rmdir(directory)
        except OSError as error:
            problem = problem or error
    return problem
