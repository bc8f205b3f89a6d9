"""Buckets as on-failure destination: one object for each outcome, in S3 or in the folder that stands in for it.

Source: object keys as in "Capturing records of Lambda asynchronous invocations" and in recordings of streams.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from services.router.destinations import DeliveryError, UndeliverableError, record
from shared.domain.arns import parse_function_reference
from shared.events.records import Condition, Outcome
from shared.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

DELIVERY_TIMEOUT_S = 20.0
BUCKETS_MAX = 16


class S3Destination:
    """Keeps the connections of the buckets used last. The object store's library is loaded when the first outcome comes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._buckets: OrderedDict[str, ObjectStore] = OrderedDict()

    async def deliver(self, outcome: Outcome, target: str) -> None:
        if outcome.condition is Condition.SUCCESS:
            raise UndeliverableError("a bucket takes what failed, not what succeeded")
        if outcome.batch is not None:
            body = record.batch_record(outcome, with_payload=True)
        else:
            body = record.invocation_record(outcome)
        bucket = target.rpartition(":")[2]
        import obstore
        from obstore.exceptions import BaseError

        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                await obstore.put_async(self._bucket(bucket), key_of(outcome, target), body, mode="overwrite")
        except (BaseError, OSError, ValueError, TimeoutError) as error:
            raise DeliveryError(f"bucket {bucket}: {error!r}") from error

    def _bucket(self, name: str) -> ObjectStore:
        """Raises OSError when the folder that stands in for S3 has no such bucket."""
        from shared.registry.code_sources import stand_in_folder
        from shared.registry.object_stores import open_bucket, open_folder

        folder = stand_in_folder(self._settings)
        if folder is not None:
            if name in ("", ".", "..") or "/" in name or not (folder / name).is_dir():
                raise FileNotFoundError(f"the folder {folder} has no bucket {name}")
            return open_folder(folder / name)
        store = self._buckets.get(name)
        if store is None:
            store = self._buckets[name] = open_bucket(self._settings.s3, name, region=self._settings.region)
            if len(self._buckets) > BUCKETS_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        return store


def key_of(outcome: Outcome, target: str) -> str:
    """The object's key. A second delivery of the same outcome writes the same object again."""
    at = datetime.fromtimestamp(outcome.finished_at_ms / 1_000, UTC)
    if outcome.batch is not None:
        place = f"{outcome.batch.mapping_uuid}/{next(iter(outcome.batch.partitions))}"
    else:
        place = f"async/{parse_function_reference(outcome.function_arn).name}"
    unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{outcome.event_id}/{outcome.condition.value}/{target}")
    return f"aws/lambda/{place}/{at:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{unique}"
