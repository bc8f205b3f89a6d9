"""Which home a request is for: the account's in the region that its signature names, of those that this cluster serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from shared.aws.regions import aws_regions
from shared.domain.arns import Home
from shared.settings import Settings


class Homes:
    """default: of requests that name no region, served in any case."""

    def __init__(self, default: Home, regions: Iterable[str] = ()) -> None:
        self.default = default
        self._served = {region.encode(): Home(default.account_id, region) for region in (default.region, *regions)}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Raises ConfigurationError."""
        return cls(settings.home, settings.regions or aws_regions())

    @property
    def regions(self) -> frozenset[bytes]:
        """As signatures name them."""
        return frozenset(self._served)

    @property
    def all(self) -> tuple[Home, ...]:
        return tuple(self._served.values())

    def named(self, region: bytes) -> Home:
        """The default one for a region that is not served: who asks Lambda for such a one is refused by the signature."""
        return self._served.get(region, self.default)
