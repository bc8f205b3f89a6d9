"""How far a mapping is behind its source: a metric, and what the poller's health shows."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from prometheus_client import Gauge

from services.poller.mapping.contract import Source
from shared.domain.errors import LambdadError

log = logging.getLogger("lambdad.poller.mapping")

LAG = Gauge(
    "lambdad_mapping_lag_records",
    "Records of a mapping's source that are not done with, of the lanes that this poller reads",
    ["mapping"],
)
INTERVAL_S = 5.0


class LagMeter:
    """Of one mapping. records: as it was measured last, None while it cannot be told: an old number would say that all is
    well."""

    def __init__(self, mapping_uuid: str) -> None:
        self._uuid = mapping_uuid
        self.records: int | None = None

    async def measure(self, source: Source[Any]) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    self._show(sum((await source.lag()).values()))
                except (LambdadError, OSError, TimeoutError) as error:
                    log.info("the lag of mapping %s is not known: %r", self._uuid, error)
                    self._show(None)
                await asyncio.sleep(INTERVAL_S)
        finally:
            self._show(None)

    def _show(self, records: int | None) -> None:
        if records is not None:
            LAG.labels(self._uuid).set(records)
        elif self.records is not None:
            LAG.remove(self._uuid)
        self.records = records
