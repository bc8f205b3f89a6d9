"""How far a mapping is behind its source, as a metric."""

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


async def measure_lag(mapping_uuid: str, source: Source[Any]) -> None:
    """Until cancelled. While it cannot be told there is no metric: an old number would say that all is well."""
    try:
        while True:
            try:
                behind = await source.lag()
            except (LambdadError, OSError, TimeoutError) as error:
                log.info("the lag of mapping %s is not known: %r", mapping_uuid, error)
                forget(mapping_uuid)
            else:
                LAG.labels(mapping_uuid).set(sum(behind.values()))
            await asyncio.sleep(INTERVAL_S)
    finally:
        forget(mapping_uuid)


def forget(mapping_uuid: str) -> None:
    try:
        LAG.remove(mapping_uuid)
    except KeyError:
        return
