"""The ledger's tables: written by the router in batches (shared/ledger/store.py), read by shared/ledger/queries.py.

Both large tables are partitioned by time, a partition for every PARTITION_MS; the router makes partitions ahead and drops old
ones. A row of an event that ran at once and went well takes about a hundred bytes: what is null takes none.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, SmallInteger, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.registry.tables import Base

PARTITION_MS = 6 * 3_600 * 1_000
SUCCEEDED = 10
"""`shared.ledger.records.Status.SUCCEEDED`: what is left out of the index of the others."""


class LedgerFunctionTable(Base):
    """Names of functions, so that an event's row has a number. arn: without qualifier."""

    __tablename__ = "ledger_functions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    arn: Mapped[str] = mapped_column(Text(collation="C"), unique=True)


class LedgerEventTable(Base):
    """How each event stands: columns as in `shared.ledger.records.EventEntry`.

    started_after_ms, changed_after_ms: since it was accepted; -1 where nothing ran. topic_partition, topic_offset: where the
    event itself is on the event topic.
    """

    __tablename__ = "ledger_events"
    __table_args__ = (
        Index("ix_ledger_events_function_id", "function_id", "accepted_ms"),
        # Whatever did not simply succeed is rare, and what people look for.
        Index("ix_ledger_events_status", "status", "accepted_ms", postgresql_where=text(f"status <> {SUCCEEDED}")),
        {"postgresql_partition_by": "RANGE (accepted_ms)"},
    )

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    accepted_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    topic_offset: Mapped[int] = mapped_column(BigInteger)
    function_id: Mapped[int] = mapped_column(Integer)
    started_after_ms: Mapped[int] = mapped_column(Integer)
    changed_after_ms: Mapped[int] = mapped_column(Integer)
    topic_partition: Mapped[int] = mapped_column(SmallInteger)
    status: Mapped[int] = mapped_column(SmallInteger)
    attempts: Mapped[int] = mapped_column(SmallInteger)
    qualifier: Mapped[str | None] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    next_ms: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)


class LedgerStepTable(Base):
    """What else happened: columns as in `shared.ledger.records.StepEntry`. digest: of what tells one step from another that
    happened at the same time to the same event."""

    __tablename__ = "ledger_steps"
    __table_args__ = (
        Index("ix_ledger_steps_kind", "kind", "at_ms"),
        {"postgresql_partition_by": "RANGE (at_ms)"},
    )

    id: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    at_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    digest: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    target: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    source: Mapped[str | None] = mapped_column(Text)
