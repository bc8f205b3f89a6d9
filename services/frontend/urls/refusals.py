"""What the frontend's log says of calls that a function URL's policy refuses: callers learn no reason, operators need one."""

from __future__ import annotations

from services.frontend.edge.answers import log

TOLD_AGAIN_AFTER_S = 60.0
REMEMBERED_MAX = 1_000


class RefusalLog:
    """A line for each reason of each URL, and no more than one a minute of it: strangers set them off."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, url_id: str, function_arn: str, reason: str, now_s: float) -> None:
        key = (url_id, reason)
        if now_s - self._told.get(key, float("-inf")) < TOLD_AGAIN_AFTER_S:
            return
        if len(self._told) >= REMEMBERED_MAX:
            self._told.clear()
        self._told[key] = now_s
        log.warning("the URL of %s refuses callers: %s", function_arn, reason)
