"""The network of sandboxes where no root has started the worker: each makes one of its own, with loopback and nothing else."""

from __future__ import annotations

import os
from collections.abc import Collection

WEAKER = "functions reach no network: their worker runs without root"


class OwnSlot:
    """Implements contract.NetworkSlot. The namespace is made with the sandbox and ends with it."""

    lost = False

    def __init__(self) -> None:
        self._fd = -1

    def descriptor(self) -> int:
        """Of no use to who gets it, and there as for every other sandbox."""
        self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return self._fd

    def entered(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def cut(self) -> None:
        pass

    def give_back(self) -> None:
        self.entered()

    def lose(self) -> None:
        self.entered()


class OwnNetwork:
    """Implements contract.NetworkProvider. weaker: None where nothing more was wanted."""

    def __init__(self, wanted: str) -> None:
        self.weaker = None if wanted == "none" else WEAKER

    async def start(self) -> None:
        pass

    async def take(self) -> OwnSlot:
        return OwnSlot()

    def refuse(self, targets: Collection[tuple[str, int]]) -> None:
        """Nothing is reached anyway."""

    async def close(self) -> None:
        pass
