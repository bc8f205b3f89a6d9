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
    bindparam,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
UNSETTLED = "state = 'Pending' OR update_status = 'InProgress'"
LAYERED = "(configuration -> 'layers') IS NOT NULL"


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


REVISIONS = Sequence("registry_revision", metadata=Base.metadata)
"""Every write to a function or a mapping takes the next number, so that a greater one is newer, database-wide."""


def name_column(**options: Any) -> Mapped[str]:
    """Names are compared by bytes, so that pages have one order in every database."""
    return mapped_column(String(140, collation="C"), **options)


def region_column(**options: Any) -> Mapped[str]:
    return mapped_column(String(32, collation="C"), **options)


class CodeSigningTable(Base):
    """Code signing configurations. policy: what happens to untrusted code, `Warn` or `Enforce`."""

    __tablename__ = "code_signing_configs"
    __table_args__ = (Index("ix_code_signing_configs_region", "region", "id"),)

    id: Mapped[str] = mapped_column(String(32, collation="C"), primary_key=True)
    region: Mapped[str] = region_column()
    description: Mapped[str] = mapped_column(Text)
    publishers: Mapped[list[str]] = mapped_column(JSON)
    policy: Mapped[str] = mapped_column(String(16))
    tags: Mapped[dict[str, str]] = mapped_column(JSON)
    modified_ms: Mapped[int] = mapped_column(BigInteger)


class FunctionTable(Base):
    __tablename__ = "functions"
    __table_args__ = (
        UniqueConstraint("region", "name"),
        Index(
            "ix_functions_reserved_concurrency",
            "reserved_concurrency",
            postgresql_where=text("reserved_concurrency IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    region: Mapped[str] = region_column()
    name: Mapped[str] = name_column()
    revision: Mapped[int] = mapped_column(BigInteger)
    last_version: Mapped[int] = mapped_column(Integer, server_default="0")
    reserved_concurrency: Mapped[int | None] = mapped_column(Integer)
    dead_letter_arn: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[dict[str, str]] = mapped_column(JSON)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    code_signing_id: Mapped[str | None] = mapped_column(ForeignKey("code_signing_configs.id"), index=True)
    recursive_loop: Mapped[str] = mapped_column(String(16), server_default="Terminate")


FUNCTION_NAMED = (FunctionTable.region == bindparam("region")) & (FunctionTable.name == bindparam("name"))
"""The one of this name in this region."""


class PolicyTable(Base):
    """Resource policies. qualifier: `$LATEST` for the function itself."""

    __tablename__ = "policies"

    function_id: Mapped[str] = mapped_column(ForeignKey("functions.id", ondelete="CASCADE"), primary_key=True)
    qualifier: Mapped[str] = name_column(primary_key=True)
    statements: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    revision_id: Mapped[str] = mapped_column(String(36))
    document_version: Mapped[str | None] = mapped_column(String(16), server_default="2012-10-17")
    document_id: Mapped[str | None] = mapped_column(Text, server_default="default")


class FunctionUrlTable(Base):
    """qualifier: `$LATEST` for the function itself. cors: None when it was never set or was taken away."""

    __tablename__ = "function_urls"
    __table_args__ = (UniqueConstraint("url_id"),)

    function_id: Mapped[str] = mapped_column(ForeignKey("functions.id", ondelete="CASCADE"), primary_key=True)
    qualifier: Mapped[str] = name_column(primary_key=True)
    url_id: Mapped[str] = mapped_column(String(32))
    auth_type: Mapped[str] = mapped_column(String(16))
    invoke_mode: Mapped[str] = mapped_column(String(16))
    cors: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_us: Mapped[int] = mapped_column(BigInteger)
    modified_us: Mapped[int] = mapped_column(BigInteger)


class VersionTable(Base):
    __tablename__ = "versions"
    __table_args__ = (
        Index("ix_versions_unsettled", "function_id", postgresql_where=text(UNSETTLED)),
        Index("ix_versions_layered", "function_id", postgresql_where=text(LAYERED)),
    )

    function_id: Mapped[str] = mapped_column(ForeignKey("functions.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    code_sha256: Mapped[str] = mapped_column(String(64), index=True)
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


class ProvisionedTable(Base):
    """Provisioned concurrency of versions and aliases. held_version: where it was last all there, to keep while an alias moves.
    generation: changes with every request and every move, so that a status is never written for another request."""

    __tablename__ = "provisioned_concurrency"

    function_id: Mapped[str] = mapped_column(ForeignKey("functions.id", ondelete="CASCADE"), primary_key=True)
    qualifier: Mapped[str] = name_column(primary_key=True)
    requested: Mapped[int] = mapped_column(Integer)
    allocated: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(16))
    status_reason: Mapped[str] = mapped_column(Text)
    held_version: Mapped[int | None] = mapped_column(Integer)
    generation: Mapped[int] = mapped_column(BigInteger)
    modified_ms: Mapped[int] = mapped_column(BigInteger)


class MappingTable(Base):
    """A mapping outlives its function, as on AWS: so no foreign key."""

    __tablename__ = "event_source_mappings"
    __table_args__ = (UniqueConstraint("consumer_group_id"), Index("ix_event_source_mappings_region", "region", "uuid"))

    uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    region: Mapped[str] = region_column()
    kind: Mapped[str] = mapped_column(String(24))
    function_name: Mapped[str] = name_column(index=True)
    qualifier: Mapped[str | None] = mapped_column(String(140))
    function_arn: Mapped[str] = mapped_column(Text)
    source_arn: Mapped[str | None] = mapped_column(Text, index=True)
    bootstrap_servers: Mapped[list[str]] = mapped_column(JSON)
    topics: Mapped[list[str]] = mapped_column(JSON)
    consumer_group_id: Mapped[str] = mapped_column(String(255))
    starting_position: Mapped[str | None] = mapped_column(String(16))
    starting_timestamp_ms: Mapped[int | None] = mapped_column(BigInteger)
    batch_size: Mapped[int] = mapped_column(Integer)
    batching_window_s: Mapped[float] = mapped_column(Float)
    filters: Mapped[list[str]] = mapped_column(JSON)
    on_failure_arn: Mapped[str | None] = mapped_column(Text)
    error_handling: Mapped[dict[str, Any]] = mapped_column(JSON)
    enabled: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[str] = mapped_column(String(16))
    state_reason: Mapped[str] = mapped_column(Text)
    last_processing_result: Mapped[str] = mapped_column(Text)
    last_modified_ms: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(BigInteger)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    tags: Mapped[dict[str, str]] = mapped_column(JSON)


class PackageTable(Base):
    """What is in the package store. entries: files, links and directories. unused_since_ms: when clean-up first saw that
    nothing refers to the package."""

    __tablename__ = "packages"
    __table_args__ = (
        Index("ix_packages_unused_since_ms", "unused_since_ms", postgresql_where=text("unused_since_ms IS NOT NULL")),
    )

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    unzipped_bytes: Mapped[int] = mapped_column(BigInteger)
    entries: Mapped[int] = mapped_column(Integer, server_default="0")
    unused_since_ms: Mapped[int | None] = mapped_column(BigInteger)


class LayerTable(Base):
    """A layer outlives its versions, so that a number is never given twice."""

    __tablename__ = "layers"

    region: Mapped[str] = region_column(primary_key=True)
    name: Mapped[str] = name_column(primary_key=True)
    last_version: Mapped[int] = mapped_column(BigInteger)


class LayerVersionTable(Base):
    """policy_statements, policy_revision_id: both or neither."""

    __tablename__ = "layer_versions"
    __table_args__ = (ForeignKeyConstraint(["region", "layer_name"], ["layers.region", "layers.name"]),)

    region: Mapped[str] = region_column(primary_key=True)
    layer_name: Mapped[str] = name_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    code_sha256: Mapped[str] = mapped_column(String(64), index=True)
    code_bytes: Mapped[int] = mapped_column(BigInteger)
    unzipped_bytes: Mapped[int] = mapped_column(BigInteger)
    description: Mapped[str] = mapped_column(Text)
    license_info: Mapped[str | None] = mapped_column(Text)
    compatible_runtimes: Mapped[list[str] | None] = mapped_column(ARRAY(String(64)))
    compatible_architectures: Mapped[list[str] | None] = mapped_column(ARRAY(String(16)))
    created_ms: Mapped[int] = mapped_column(BigInteger)
    policy_statements: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    policy_revision_id: Mapped[str | None] = mapped_column(String(36))


class ScheduleGroupTable(Base):
    """Groups of EventBridge Scheduler. The group `default` has a row once somebody asked for it."""

    __tablename__ = "schedule_groups"

    region: Mapped[str] = region_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64, collation="C"), primary_key=True)
    tags: Mapped[dict[str, str]] = mapped_column(JSON)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    modified_ms: Mapped[int] = mapped_column(BigInteger)


class ScheduleTable(Base):
    """Schedules of EventBridge Scheduler, as they are shown; when one is due is its timer's. window_minutes: None for none."""

    __tablename__ = "schedules"
    __table_args__ = (ForeignKeyConstraint(["region", "group_name"], ["schedule_groups.region", "schedule_groups.name"]),)

    region: Mapped[str] = region_column(primary_key=True)
    group_name: Mapped[str] = mapped_column(String(64, collation="C"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64, collation="C"), primary_key=True)
    expression: Mapped[str] = mapped_column(String(256))
    time_zone: Mapped[str] = mapped_column(String(50))
    state: Mapped[str] = mapped_column(String(16))
    description: Mapped[str | None] = mapped_column(Text)
    kms_key_arn: Mapped[str | None] = mapped_column(Text)
    start_ms: Mapped[int | None] = mapped_column(BigInteger)
    end_ms: Mapped[int | None] = mapped_column(BigInteger)
    window_minutes: Mapped[int | None] = mapped_column(Integer)
    after_completion: Mapped[str] = mapped_column(String(16))
    target: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    modified_ms: Mapped[int] = mapped_column(BigInteger)


class TimerTable(Base):
    """When something is due: schedules and scheduled rules, by their ARNs (shared/domain/timers.py)."""

    __tablename__ = "timers"
    __table_args__ = (Index("ix_timers_fire_at_ms", "fire_at_ms", postgresql_where=text("fire_at_ms IS NOT NULL")),)

    owner: Mapped[str] = mapped_column(String(512, collation="C"), primary_key=True)
    generation: Mapped[str] = mapped_column(String(32))
    expression: Mapped[str] = mapped_column(String(256))
    time_zone: Mapped[str] = mapped_column(String(50))
    anchor_ms: Mapped[int] = mapped_column(BigInteger)
    start_ms: Mapped[int | None] = mapped_column(BigInteger)
    end_ms: Mapped[int | None] = mapped_column(BigInteger)
    window_ms: Mapped[int] = mapped_column(BigInteger)
    due_ms: Mapped[int | None] = mapped_column(BigInteger)
    fire_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    last_due_ms: Mapped[int] = mapped_column(BigInteger)
    advanced_ms: Mapped[int] = mapped_column(BigInteger)


class SchedulerTokenTable(Base):
    """Client tokens of EventBridge Scheduler's writes, for as long as a client may repeat one. digest: of what was asked."""

    __tablename__ = "scheduler_tokens"

    region: Mapped[str] = region_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(64, collation="C"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    used_ms: Mapped[int] = mapped_column(BigInteger, index=True)


class QueueTable(Base):
    """Queues. attributes: what their owners have set, as texts, without what has its default. dead_letter_arn: of the redrive
    policy in there, for the search the other way round."""

    __tablename__ = "queues"
    __table_args__ = (Index("ix_queues_dead_letter_arn", "dead_letter_arn", "name"),)

    region: Mapped[str] = region_column(primary_key=True)
    name: Mapped[str] = name_column(primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)
    attributes: Mapped[dict[str, str]] = mapped_column(JSON)
    tags: Mapped[dict[str, str]] = mapped_column(JSON)
    dead_letter_arn: Mapped[str | None] = mapped_column(Text)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    modified_ms: Mapped[int] = mapped_column(BigInteger)


class DeletedQueueTable(Base):
    """Names that may not be taken again for a while."""

    __tablename__ = "deleted_queues"

    region: Mapped[str] = region_column(primary_key=True)
    name: Mapped[str] = name_column(primary_key=True)
    deleted_ms: Mapped[int] = mapped_column(BigInteger)
