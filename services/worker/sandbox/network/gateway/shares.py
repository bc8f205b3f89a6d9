"""How much of the gateway's work one sandbox may have under way, so that those who want much leave others theirs."""

from __future__ import annotations

import asyncio
from typing import Any

Work = asyncio.Task[Any]


class Shares:
    """per_slot_max: what is over it is refused. all_max: when it is reached, who has most gives way to who has less."""

    def __init__(self, per_slot_max: int, all_max: int) -> None:
        self._per_slot_max = per_slot_max
        self._all_max = all_max
        self._under_way: dict[str, dict[Work, None]] = {}
        self._total = 0

    def make_room(self, slot: str) -> bool:
        """Whether there is any for one more of this slot. Somebody else's oldest may have been cancelled for it."""
        own = len(self._under_way.get(slot, ()))
        return own < self._per_slot_max and (self._total < self._all_max or self._cancel_one(own))

    def _cancel_one(self, own: int) -> bool:
        slot, most = max(self._under_way.items(), key=lambda each: len(each[1]))
        if len(most) <= own + 1:
            return False
        oldest = next(iter(most))
        oldest.cancel()
        self.remove(slot, oldest)
        return True

    def add(self, slot: str, work: Work) -> None:
        self._under_way.setdefault(slot, {})[work] = None
        self._total += 1

    def remove(self, slot: str, work: Work) -> None:
        """One that was cancelled has been already."""
        own = self._under_way.get(slot, {})
        if work in own:
            del own[work]
            self._total -= 1
            if not own:
                del self._under_way[slot]
