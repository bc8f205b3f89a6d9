"""Code and layers as a sandbox gets them: each time a read-only view of its own, handed over as a mount that is nowhere yet.

An overlay, for the reasons that private_root.py has: its files are locked and watched by one environment alone, and the mount
says nothing of where on the host the tree lies.
"""

from __future__ import annotations

import os
from pathlib import Path

from services.worker.sandbox import libc, mounts

_FOLDER = "nothing"


class TreeViews:
    """root: a directory of the worker's own. An overlay that nothing is written to wants two layers: there is an empty one.
    Raises OSError where the kernel cannot make such views."""

    def __init__(self, root: Path) -> None:
        folder = root / _FOLDER
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._nothing = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(self.detached(Path("/usr")))
        except OSError:
            self.close()
            raise

    def detached(self, tree: Path) -> int:
        """A descriptor to send to a sandbox, which attaches it; the caller's to close. Raises OSError."""
        folder = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # By descriptors: what is named here can be read in the sandbox.
            layers = f"/proc/self/fd/{folder}:/proc/self/fd/{self._nothing}"
            return libc.mount_detached("overlay", {"lowerdir": layers}, mounts.READ_ONLY | mounts.NO_SUID | mounts.NO_DEV)
        finally:
            os.close(folder)

    def close(self) -> None:
        os.close(self._nothing)
