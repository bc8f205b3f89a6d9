"""What a delivery says of the try that it is in. Pure."""

from __future__ import annotations

import msgspec

from shared.events.records import Behalf, Delivery

ATTEMPT_NUMBER = b"<aws.scheduler.attempt-number>"
"""In what a schedule sends: the number of the try, from 1 on. Source: "Adding context attributes", EventBridge Scheduler."""


def numbered(delivery: Delivery) -> Delivery:
    if delivery.behalf is not Behalf.SCHEDULER or ATTEMPT_NUMBER not in delivery.payload:
        return delivery
    payload = delivery.payload.replace(ATTEMPT_NUMBER, b"%d" % (delivery.attempts + 1))
    return msgspec.structs.replace(delivery, payload=payload)
