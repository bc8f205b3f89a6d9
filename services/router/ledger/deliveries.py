"""What the ledger is told of deliveries: how each ended, beside the event, message or schedule that it came from."""

from __future__ import annotations

from services.router.deliveries.contract import End, Ended
from shared.events.records import Behalf, Role
from shared.ledger.records import StepKind
from shared.ledger.writer import LedgerWriter

_KINDS = {
    End.DELIVERED: StepKind.DELIVERED,
    End.DEAD_LETTERED: StepKind.DELIVERY_REFUSED,
    End.KEPT: StepKind.KEPT,
    End.REFUSED: StepKind.DELIVERY_REFUSED,
}


def tell_end(ledger: LedgerWriter, ended: Ended) -> None:
    """One that becomes a dead letter is refused by its target; the letter's own end is told by itself."""
    delivery = ended.delivery
    kind = _KINDS[ended.end]
    if kind is StepKind.DELIVERED and delivery.role is Role.DEAD_LETTER:
        kind = StepKind.DEAD_LETTERED
    ledger.step(
        delivery.origin_id,
        kind,
        ended.at_ms,
        target=delivery.target,
        detail=ended.error,
        source="" if delivery.behalf is Behalf.LAMBDA else delivery.source_arn,
    )
