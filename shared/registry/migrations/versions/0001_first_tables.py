"""Functions, versions, aliases, event-invoke configurations and event source mappings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("registry_revision")))
    op.create_table(
        "functions",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(140, collation="C"), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("last_version", sa.Integer, server_default="0", nullable=False),
        sa.Column("reserved_concurrency", sa.Integer),
        sa.Column("dead_letter_arn", sa.Text),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_functions"),
        sa.UniqueConstraint("name", name="uq_functions_name"),
    )
    op.create_table(
        "versions",
        sa.Column("function_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("code_sha256", sa.String(64), nullable=False),
        sa.Column("code_bytes", sa.BigInteger, nullable=False),
        sa.Column("configuration", sa.JSON, nullable=False),
        sa.Column("config_revision", sa.BigInteger, nullable=False),
        sa.Column("revision_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("update_status", sa.String(16), nullable=False),
        sa.Column("failure", sa.Text, server_default="", nullable=False),
        sa.Column("modified_ms", sa.BigInteger, nullable=False),
        sa.Column("source_digest", sa.String(64), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("function_id", "number", name="pk_versions"),
        sa.ForeignKeyConstraint(["function_id"], ["functions.id"], name="fk_versions_function_id", ondelete="CASCADE"),
    )
    op.create_index(
        "ix_versions_unsettled",
        "versions",
        ["function_id"],
        postgresql_where=sa.text("state = 'Pending' OR update_status = 'InProgress'"),
    )
    op.create_table(
        "aliases",
        sa.Column("function_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(140, collation="C"), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("revision_id", sa.String(36), nullable=False),
        sa.Column("additional_version", sa.Integer),
        sa.Column("additional_weight", sa.Float),
        sa.PrimaryKeyConstraint("function_id", "name", name="pk_aliases"),
        sa.ForeignKeyConstraint(["function_id"], ["functions.id"], name="fk_aliases_function_id", ondelete="CASCADE"),
    )
    op.create_table(
        "event_invoke_configs",
        sa.Column("function_id", sa.String(32), nullable=False),
        sa.Column("qualifier", sa.String(140, collation="C"), nullable=False),
        sa.Column("retry_attempts_max", sa.Integer),
        sa.Column("event_age_s_max", sa.Integer),
        sa.Column("on_success_arn", sa.Text),
        sa.Column("on_failure_arn", sa.Text),
        sa.Column("modified_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("function_id", "qualifier", name="pk_event_invoke_configs"),
        sa.ForeignKeyConstraint(
            ["function_id"], ["functions.id"], name="fk_event_invoke_configs_function_id", ondelete="CASCADE"
        ),
    )
    _create_mappings()


def _create_mappings() -> None:
    op.create_table(
        "event_source_mappings",
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("function_name", sa.String(140, collation="C"), nullable=False),
        sa.Column("qualifier", sa.String(140)),
        sa.Column("function_arn", sa.Text, nullable=False),
        sa.Column("source_arn", sa.Text),
        sa.Column("bootstrap_servers", sa.JSON, nullable=False),
        sa.Column("topics", sa.JSON, nullable=False),
        sa.Column("consumer_group_id", sa.String(255), nullable=False),
        sa.Column("starting_position", sa.String(16), nullable=False),
        sa.Column("starting_timestamp_ms", sa.BigInteger),
        sa.Column("batch_size", sa.Integer, nullable=False),
        sa.Column("batching_window_s", sa.Float, nullable=False),
        sa.Column("filters", sa.JSON, nullable=False),
        sa.Column("on_failure_arn", sa.Text),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_reason", sa.Text, nullable=False),
        sa.Column("last_processing_result", sa.Text, nullable=False),
        sa.Column("last_modified_ms", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("uuid", name="pk_event_source_mappings"),
        sa.UniqueConstraint("consumer_group_id", name="uq_event_source_mappings_consumer_group_id"),
    )
    op.create_index("ix_event_source_mappings_function_name", "event_source_mappings", ["function_name"])
    op.create_index("ix_event_source_mappings_source_arn", "event_source_mappings", ["source_arn"])


def downgrade() -> None:
    for table in ("event_source_mappings", "event_invoke_configs", "aliases", "versions", "functions"):
        op.drop_table(table)
    op.execute(sa.schema.DropSequence(sa.Sequence("registry_revision")))
