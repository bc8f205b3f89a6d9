"""What the ledger is asked of deliveries, whoever they were made for: functions, subscriptions, rules, schedules. Read only.

Newest first. A page goes on behind the last row of the one before it.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home, function_arn
from shared.ledger.joining import as_uuid, storable
from shared.ledger.queries import FUTURE_MS, LIMIT_MAX, Moment
from shared.ledger.records import StepKind

NOT_DELIVERED = (StepKind.DELIVERY_RETRIED, StepKind.DELIVERY_REFUSED, StepKind.KEPT)


class DeliveryPosition(msgspec.Struct, frozen=True, array_like=True):
    """Of a delivery in a list: a page begins behind it."""

    at_ms: Moment
    event_id: str
    kind: Annotated[int, msgspec.Meta(ge=0, le=2**15 - 1)]
    digest: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class AskedDeliveries(msgspec.Struct, frozen=True):
    """Which of them. kinds: what became of them, one at least. since_ms, until_ms: when, Unix milliseconds, half open.
    behalf: a part of the ARN of the subscription, rule, schedule or function. target: a part of the target's."""

    kinds: tuple[StepKind, ...] = NOT_DELIVERED
    since_ms: int = 0
    until_ms: int = FUTURE_MS
    behalf: str = ""
    target: str = ""


class LedgerDelivery(msgspec.Struct, frozen=True):
    """event_id: of the event, message, bus's event or firing that it comes from. behalf: the ARN of the function, subscription,
    rule or schedule."""

    event_id: str
    at_ms: int
    kind: StepKind
    digest: int
    target: str | None
    detail: str | None
    behalf: str

    @property
    def position(self) -> DeliveryPosition:
        return DeliveryPosition(self.at_ms, self.event_id, self.kind, self.digest)


_OWN = """(SELECT f.arn FROM ledger_events e JOIN ledger_functions f ON f.id = e.function_id WHERE e.id = s.id LIMIT 1)"""
"""The function of a delivery that names nobody else."""


async def find(
    connection: AsyncConnection, home: Home, asked: AskedDeliveries, *, limit: int, after: DeliveryPosition | None = None
) -> list[LedgerDelivery]:
    """The newest `limit` of them, behind `after`."""
    values: dict[str, Any] = {
        "kinds": [kind.value for kind in asked.kinds],
        "since": asked.since_ms,
        "until": asked.until_ms,
        "here": f"%:{home.region}:{home.account_id}:%",
        "functions": function_arn(home, ""),
        "limit": min(limit, LIMIT_MAX),
    }
    wanted = [
        "s.at_ms >= :since",
        "s.at_ms < :until",
        "(s.source LIKE :here OR (s.source IS NULL AND starts_with(own.arn, :functions)))",
    ]
    if asked.behalf:
        wanted.append("strpos(coalesce(s.source, own.arn), :behalf) > 0")
        values["behalf"] = storable(asked.behalf)
    if asked.target:
        wanted.append("strpos(s.target, :target) > 0")
        values["target"] = storable(asked.target)
    if after is not None:
        wanted.append("(s.at_ms, s.id, s.kind, s.digest) < (:after_ms, CAST(:after_id AS uuid), :after_kind, :after_digest)")
        values |= {
            "after_ms": after.at_ms,
            "after_id": as_uuid(after.event_id),
            "after_kind": after.kind,
            "after_digest": after.digest,
        }
    order = "ORDER BY at_ms DESC, id DESC, kind DESC, digest DESC LIMIT :limit"
    # Of each kind its newest, by the index that begins with the kind; of these the newest.
    of_kind = f"""SELECT s.*, coalesce(s.source, own.arn) AS behalf
        FROM ledger_steps s LEFT JOIN LATERAL {_OWN} own ON s.source IS NULL
        WHERE s.kind = wanted.kind AND {" AND ".join(wanted)} {order}"""
    statement = f"""SELECT d.id::text AS event_id, d.at_ms, d.kind, d.digest, d.target, d.detail, d.behalf
        FROM unnest(CAST(:kinds AS smallint[])) AS wanted(kind) CROSS JOIN LATERAL ({of_kind}) d {order}"""
    rows = await connection.execute(text(statement), values)
    return [LedgerDelivery(**{**row, "kind": StepKind(row["kind"])}) for row in rows.mappings()]
