"""Buckets as targets: the payload becomes an object, in S3 or in the folder that stands in for it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from services.router.deliveries.contract import DeliveryError, TargetMissingError, UndeliverableError
from shared.events.records import BucketParameters, Delivery
from shared.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

DELIVERY_TIMEOUT_S = 20.0
BUCKETS_MAX = 16


class ToBucket:
    """Keeps the connections of the buckets used last. The object store's library is loaded with the first object. A second
    delivery writes the same object again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._buckets: OrderedDict[str, ObjectStore] = OrderedDict()

    async def deliver(self, delivery: Delivery) -> None:
        if not isinstance(delivery.parameters, BucketParameters):
            raise UndeliverableError("nothing says under which key it is to be in the bucket")
        bucket = delivery.target.rpartition(":")[2]
        import obstore
        from obstore.exceptions import BaseError, NotFoundError

        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                await obstore.put_async(self._bucket(bucket), delivery.parameters.key, delivery.payload, mode="overwrite")
        except (NotFoundError, FileNotFoundError) as error:
            raise TargetMissingError(f"there is no bucket {bucket}") from error
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
