"""The tables of EventBridge."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKeyConstraint, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.registry.tables import Base, region_column

SCHEDULED = "schedule IS NOT NULL"
OPEN = "state IN ('STARTING', 'RUNNING', 'CANCELLING')"


def bus_column(**options: Any) -> Mapped[str]:
    return mapped_column(String(256, collation="C"), **options)


def key_column(**options: Any) -> Mapped[str]:
    return mapped_column(String(64, collation="C"), **options)


class BusTable(Base):
    """revision: of the last change of the bus, of its rules, their targets or its archives."""

    __tablename__ = "event_buses"

    region: Mapped[str] = region_column(primary_key=True)
    name: Mapped[str] = bus_column(primary_key=True)
    description: Mapped[str | None] = mapped_column(Text)
    policy: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    tags: Mapped[list[dict[str, str]]] = mapped_column(JSON)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    modified_ms: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(BigInteger)


class RuleTable(Base):
    __tablename__ = "event_rules"
    __table_args__ = (
        ForeignKeyConstraint(["region", "bus"], ["event_buses.region", "event_buses.name"], ondelete="CASCADE"),
        Index("ix_event_rules_schedule", "region", "name", postgresql_where=text(SCHEDULED)),
    )

    region: Mapped[str] = region_column(primary_key=True)
    bus: Mapped[str] = bus_column(primary_key=True)
    name: Mapped[str] = key_column(primary_key=True)
    pattern: Mapped[str | None] = mapped_column(Text)
    schedule: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(64))
    description: Mapped[str | None] = mapped_column(Text)
    role_arn: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[dict[str, str]]] = mapped_column(JSON)


class TargetTable(Base):
    """arn_digest: an ARN may be longer than what an index takes."""

    __tablename__ = "event_targets"
    __table_args__ = (
        ForeignKeyConstraint(
            ["region", "bus", "rule"],
            ["event_rules.region", "event_rules.bus", "event_rules.name"],
            ondelete="CASCADE",
        ),
        Index("ix_event_targets_arn", "region", "arn_digest", "bus", "rule"),
    )

    region: Mapped[str] = region_column(primary_key=True)
    bus: Mapped[str] = bus_column(primary_key=True)
    rule: Mapped[str] = key_column(primary_key=True)
    id: Mapped[str] = key_column(primary_key=True)
    arn: Mapped[str] = mapped_column(Text)
    arn_digest: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)


class ArchiveTable(Base):
    """No foreign key: an archive outlives its bus."""

    __tablename__ = "event_archives"
    __table_args__ = (Index("ix_event_archives_bus", "region", "bus", "name"),)

    region: Mapped[str] = region_column(primary_key=True)
    name: Mapped[str] = key_column(primary_key=True)
    bus: Mapped[str] = bus_column()
    description: Mapped[str | None] = mapped_column(Text)
    pattern: Mapped[str | None] = mapped_column(Text)
    retention_days: Mapped[int] = mapped_column(Integer)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    topic: Mapped[str] = mapped_column(String(255))
    created_ms: Mapped[int] = mapped_column(BigInteger)
    events: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class ReplayTable(Base):
    """lease_ms: until when the router that runs it has it to itself, Unix time."""

    __tablename__ = "event_replays"
    __table_args__ = (Index("ix_event_replays_open", "started_ms", postgresql_where=text(OPEN)),)

    region: Mapped[str] = region_column(primary_key=True)
    name: Mapped[str] = key_column(primary_key=True)
    archive: Mapped[str] = key_column()
    description: Mapped[str | None] = mapped_column(Text)
    destination: Mapped[dict[str, Any]] = mapped_column(JSON)
    start_ms: Mapped[int] = mapped_column(BigInteger)
    end_ms: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    started_ms: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str | None] = mapped_column(Text)
    ended_ms: Mapped[int | None] = mapped_column(BigInteger)
    last_replayed_ms: Mapped[int | None] = mapped_column(BigInteger)
    offset: Mapped[int | None] = mapped_column(BigInteger)
    changed_ms: Mapped[int] = mapped_column(BigInteger)
    lease_ms: Mapped[int] = mapped_column(BigInteger)


class ConnectionTable(Base):
    """auth: AuthParameters as they were sent, with the secrets."""

    __tablename__ = "event_connections"

    region: Mapped[str] = region_column(primary_key=True)
    name: Mapped[str] = key_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(36))
    secret_id: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    auth: Mapped[dict[str, Any]] = mapped_column(JSON)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(32))
    created_ms: Mapped[int] = mapped_column(BigInteger)
    modified_ms: Mapped[int] = mapped_column(BigInteger)
    authorized_ms: Mapped[int] = mapped_column(BigInteger)


class ApiDestinationTable(Base):
    __tablename__ = "event_api_destinations"

    region: Mapped[str] = region_column(primary_key=True)
    name: Mapped[str] = key_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(36))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    modified_ms: Mapped[int] = mapped_column(BigInteger)
