"""The registry's tables. `migrations/` makes them; a test holds the two together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Sequence,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
UNSETTLED = "state = 'Pending' OR update_status = 'InProgress'"


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


REVISIONS = Sequence("registry_revision", metadata=Base.metadata)
"""Every write to a function or a mapping takes the next number, so that a greater one is newer, database-wide."""


def name_column(**options: Any) -> Mapped[str]:
    """Names are compared by bytes, so that pages have one order in every database."""
    return mapped_column(String(140, collation="C"), **options)


class CodeSigningTable(Base):
    """Code signing configurations. policy: what happens to untrusted code, `Warn` or `Enforce`."""

    __tablename__ = "code_signing_configs"

    id: Mapped[str] = mapped_column(String(32, collation="C"), primary_key=True)
    description: Mapped[str] = mapped_column(Text)
    publishers: Mapped[list[str]] = mapped_column(JSON)
    policy: Mapped[str] = mapped_column(String(16))
    tags: Mapped[dict[str, str]] = mapped_column(JSON)
    modified_ms: Mapped[int] = mapped_column(BigInteger)


class FunctionTable(Base):
    __tablename__ = "functions"
    __table_args__ = (
        Index(
            "ix_functions_reserved_concurrency",
            "reserved_concurrency",
            postgresql_where=text("reserved_concurrency IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = name_column(unique=True)
    revision: Mapped[int] = mapped_column(BigInteger)
    last_version: Mapped[int] = mapped_column(Integer, server_default="0")
    reserved_concurrency: Mapped[int | None] = mapped_column(Integer)
    dead_letter_arn: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[dict[str, str]] = mapped_column(JSON)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    code_signing_id: Mapped[str | None] = mapped_column(ForeignKey("code_signing_configs.id"), index=True)
    recursive_loop: Mapped[str] = mapped_column(String(16), server_default="Terminate")


class PolicyTable(Base):
    """Resource policies. qualifier: `$LATEST` for the function itself."""

    __tablename__ = "policies"

    function_id: Mapped[str] = mapped_column(ForeignKey("functions.id", ondelete="CASCADE"), primary_key=True)
    qualifier: Mapped[str] = name_column(primary_key=True)
    statements: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    revision_id: Mapped[str] = mapped_column(String(36))


class VersionTable(Base):
    __tablename__ = "versions"
    __table_args__ = (Index("ix_versions_unsettled", "function_id", postgresql_where=text(UNSETTLED)),)

    function_id: Mapped[str] = mapped_column(ForeignKey("functions.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    code_sha256: Mapped[str] = mapped_column(String(64))
    code_bytes: Mapped[int] = mapped_column(BigInteger)
    configuration: Mapped[dict[str, Any]] = mapped_column(JSON)
    config_revision: Mapped[int] = mapped_column(BigInteger)
    revision_id: Mapped[str] = mapped_column(String(36))
    state: Mapped[str] = mapped_column(String(16))
    update_status: Mapped[str] = mapped_column(String(16))
    failure: Mapped[str] = mapped_column(Text, server_default="")
    modified_ms: Mapped[int] = mapped_column(BigInteger)
    source_digest: Mapped[str] = mapped_column(String(64), server_default="")


class RuntimeManagementTable(Base):
    """How a version follows new versions of its runtime; versions without a row follow them automatically."""

    __tablename__ = "runtime_management_configs"
    __table_args__ = (
        ForeignKeyConstraint(["function_id", "number"], ["versions.function_id", "versions.number"], ondelete="CASCADE"),
    )

    function_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    update_on: Mapped[str] = mapped_column(String(16))
    runtime_version_arn: Mapped[str | None] = mapped_column(Text)


class AliasTable(Base):
    __tablename__ = "aliases"

    function_id: Mapped[str] = mapped_column(ForeignKey("functions.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = name_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    description: Mapped[str] = mapped_column(Text)
    revision_id: Mapped[str] = mapped_column(String(36))
    additional_version: Mapped[int | None] = mapped_column(Integer)
    additional_weight: Mapped[float | None] = mapped_column(Float)


class EventInvokeTable(Base):
    __tablename__ = "event_invoke_configs"

    function_id: Mapped[str] = mapped_column(ForeignKey("functions.id", ondelete="CASCADE"), primary_key=True)
    qualifier: Mapped[str] = name_column(primary_key=True)
    retry_attempts_max: Mapped[int | None] = mapped_column(Integer)
    event_age_s_max: Mapped[int | None] = mapped_column(Integer)
    on_success_arn: Mapped[str | None] = mapped_column(Text)
    on_failure_arn: Mapped[str | None] = mapped_column(Text)
    modified_ms: Mapped[int] = mapped_column(BigInteger)


class MappingTable(Base):
    """A mapping outlives its function, as on AWS: so no foreign key."""

    __tablename__ = "event_source_mappings"
    __table_args__ = (UniqueConstraint("consumer_group_id"),)

    uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    function_name: Mapped[str] = name_column(index=True)
    qualifier: Mapped[str | None] = mapped_column(String(140))
    function_arn: Mapped[str] = mapped_column(Text)
    source_arn: Mapped[str | None] = mapped_column(Text, index=True)
    bootstrap_servers: Mapped[list[str]] = mapped_column(JSON)
    topics: Mapped[list[str]] = mapped_column(JSON)
    consumer_group_id: Mapped[str] = mapped_column(String(255))
    starting_position: Mapped[str] = mapped_column(String(16))
    starting_timestamp_ms: Mapped[int | None] = mapped_column(BigInteger)
    batch_size: Mapped[int] = mapped_column(Integer)
    batching_window_s: Mapped[float] = mapped_column(Float)
    filters: Mapped[list[str]] = mapped_column(JSON)
    on_failure_arn: Mapped[str | None] = mapped_column(Text)
    enabled: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[str] = mapped_column(String(16))
    state_reason: Mapped[str] = mapped_column(Text)
    last_processing_result: Mapped[str] = mapped_column(Text)
    last_modified_ms: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(BigInteger)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    tags: Mapped[dict[str, str]] = mapped_column(JSON)
