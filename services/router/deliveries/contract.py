"""What a kind of target has to offer, and the ways in which it can fail.

A deliverer is a file `to_<kind>.py` with one class. It knows one kind of target, makes one attempt and bounds its time;
pauses, retries, dead letters and metrics are the courier's.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

import msgspec

from shared.domain.errors import LambdadError
from shared.events.records import Delivery


class DeliveryError(LambdadError):
    """The target did not take it now; later it may. code: what the service on whose behalf it is calls it in a dead letter."""

    def __init__(self, message: str, code: str = "SDK_CLIENT_ERROR") -> None:
        super().__init__(message)
        self.code = code


class UndeliverableError(DeliveryError):
    """The target will never take it: it is not tried again."""


class TargetMissingError(UndeliverableError):
    """There is no such target."""

    def __init__(self, message: str, code: str = "RESOURCE_NOT_FOUND") -> None:
        super().__init__(message, code)


class Deliverer(Protocol):
    async def deliver(self, delivery: Delivery) -> None:
        """Returns when the target has it durably; bounds its own time. Raises DeliveryError, UndeliverableError or
        TargetMissingError."""


class End(enum.StrEnum):
    """How a delivery ended. In the end nothing is nowhere."""

    DELIVERED = "delivered"
    DEAD_LETTERED = "dead_lettered"
    """Its dead letter is a delivery of its own, which ends by itself."""
    KEPT = "kept"
    """Its queue or topic is not there: it waits in the stream of that name."""
    REFUSED = "refused"
    """Nobody takes it: it is on the topic of what is undeliverable."""


class Ended(msgspec.Struct, frozen=True):
    """delivery: as it was tried last. error: of the last try that failed, "" where none did. at_ms: Unix time."""

    delivery: Delivery
    end: End
    at_ms: int
    error: str = ""


OnEnd = Callable[[Ended], None]
"""Told of each end, once a try that ends it: the ledger. It must not raise and does not wait."""
