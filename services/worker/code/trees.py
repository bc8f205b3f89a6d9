"""Removes directory trees in the background, one at a time: a large one must hold up nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections import deque
from pathlib import Path

from shared.packages.trees import remove_tree

log = logging.getLogger("lambdad.worker")

CLOSE_TIMEOUT_S = 5.0
DOOMED = "old-"


class Remover:
    """root: where the trees lie; what is to go is renamed within it at once, so that its name is free."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._doomed: deque[Path] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closing = threading.Event()

    def remove(self, tree: Path) -> None:
        """Raises OSError when it cannot even be renamed."""
        self._doomed.append(doom(tree, self._root))
        self._begin()

    def remove_left(self) -> None:
        """What an earlier process was removing when it ended, or left."""
        self._doomed.extend(self._root.glob(f"{DOOMED}*"))
        self._begin()

    async def close(self) -> None:
        """What is not removed by now is left to the next start."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT_S)

    def _begin(self) -> None:
        if self._task is None and self._doomed and not self._closing.is_set():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._doomed and not self._closing.is_set():
                await asyncio.to_thread(remove, self._doomed.popleft(), self._closing)
        finally:
            self._task = None


def doom(tree: Path, root: Path) -> Path:
    """The tree under a name that says that it is to go."""
    return tree.rename(root / f"{DOOMED}{uuid.uuid4().hex}")


def remove(tree: Path, stop: threading.Event | None = None) -> None:
    """As `remove_tree`; what cannot be removed is left, and said."""
    problem = remove_tree(tree, stop)
    if problem is not None and not isinstance(problem, FileNotFoundError):
        log.warning("%s was not removed: %s", tree, problem)
