"""Addresses of http and https as targets: one POST a try."""

from __future__ import annotations

from services.router.deliveries.contract import DeliveryError, UndeliverableError
from services.router.deliveries.http_requests import HttpRequests
from shared.events.records import Delivery, HttpParameters

TIMEOUT_S = 15.0
"""Of one try, as AWS has it: connecting, sending and the answer's status."""
RETRIED = frozenset({408, 429})
"""Answers below 500 that say that a later try may help."""


class ToHttp:
    """Any answer from 200 to 299 takes the delivery; from 300 to 499 it is refused for good."""

    def __init__(self, requests: HttpRequests) -> None:
        self._requests = requests

    async def deliver(self, delivery: Delivery) -> None:
        headers = delivery.parameters.headers if isinstance(delivery.parameters, HttpParameters) else ()
        answer = await self._requests.send("POST", delivery.target, headers, delivery.payload, TIMEOUT_S)
        if 200 <= answer.status < 300:
            return
        refused = 300 <= answer.status < 500 and answer.status not in RETRIED
        raise (UndeliverableError if refused else DeliveryError)(f"{delivery.target} answered {answer.status}")
