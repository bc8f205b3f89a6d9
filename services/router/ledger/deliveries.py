"""What the ledger is told of deliveries: what each try came to, beside the event, message or schedule that it came from."""

from __future__ import annotations

from services.router.deliveries.contract import Happened, Happening
from shared.events.records import Behalf, Role
from shared.ledger.records import StepKind
from shared.ledger.writer import LedgerWriter

_KINDS = {
    Happening.RETRIED: StepKind.DELIVERY_RETRIED,
    Happening.DELIVERED: StepKind.DELIVERED,
    Happening.DEAD_LETTERED: StepKind.DELIVERY_REFUSED,
    Happening.KEPT: StepKind.KEPT,
    Happening.REFUSED: StepKind.DELIVERY_REFUSED,
}
_ARRIVED = (StepKind.DELIVERED, StepKind.DEAD_LETTERED)


def tell(ledger: LedgerWriter, happened: Happened) -> None:
    """One that becomes a dead letter is refused by its target; the letter's own end is told by itself. Of what arrives, an
    event's own function is not said again. Records of a mapping's batches are nobody's event."""
    delivery = happened.delivery
    kind = _KINDS[happened.what]
    if kind is StepKind.DELIVERED and delivery.role is Role.DEAD_LETTER:
        kind = StepKind.DEAD_LETTERED
    ledger.step(
        delivery.origin_id,
        kind,
        happened.at_ms,
        target=delivery.target,
        detail=happened.error,
        source="" if delivery.behalf is Behalf.LAMBDA and kind in _ARRIVED else delivery.source_arn,
    )
