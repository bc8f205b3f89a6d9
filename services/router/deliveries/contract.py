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
    """The target did not take it now; later it may. code: what the service on whose behalf it is calls it in a dead letter.
    after_s: so long the target asks not to be tried."""

    def __init__(self, message: str, code: str = "SDK_CLIENT_ERROR", *, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.after_s = after_s


class TargetBusyError(DeliveryError):
    """The target is not to be asked so often: no try was made."""


class UndeliverableError(DeliveryError):
    """The target will never take it: it is not tried again."""


class TargetMissingError(UndeliverableError):
    """There is no such target."""

    def __init__(self, message: str, code: str = "RESOURCE_NOT_FOUND") -> None:
        super().__init__(message, code)


class Deliverer(Protocol):
    async def deliver(self, delivery: Delivery) -> None:
        """Returns when the target has it durably; bounds its own time. Raises DeliveryError, UndeliverableError,
        TargetMissingError or TargetBusyError."""


class Happening(enum.StrEnum):
    """What a try at a delivery came to. All but RETRIED end it: in the end nothing is nowhere."""

    RETRIED = "retried"
    """It failed, and is tried again when it is due."""
    DELIVERED = "delivered"
    DEAD_LETTERED = "dead_lettered"
    """Its dead letter is a delivery of its own, which ends by itself."""
    KEPT = "kept"
    """Its queue or topic is not there: it waits in the stream of that name."""
    REFUSED = "refused"
    """Nobody takes it: it is on the topic of what is undeliverable."""


class Happened(msgspec.Struct, frozen=True):
    """delivery: as it was tried. error: what the try failed with, "" where it did not. at_ms: Unix time. due_ms: of the next
    try; 0 where there is none."""

    delivery: Delivery
    what: Happening
    at_ms: int
    error: str = ""
    due_ms: int = 0


Tell = Callable[[Happened], None]
"""Told of whatever a try came to, once that is durable: the ledger. It must not raise and does not wait."""
