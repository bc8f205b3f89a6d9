"""Event source mappings of every kind of source, with their error handling as pollers read it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLE = "event_source_mappings"
ERROR_HANDLING = """
UPDATE event_source_mappings SET error_handling = json_build_object(
    'retry_attempts_max', coalesce((settings->>'retry_attempts_max')::int, -1),
    'record_age_s_max', coalesce((settings->>'record_age_s_max')::int, -1),
    'bisect_on_error', coalesce((settings->>'bisect_on_error')::boolean, false),
    'report_batch_item_failures', coalesce(settings->>'function_response_types' LIKE '%ReportBatchItemFailures%', false)
)
"""
"""What owners had set before is done from now on."""


def upgrade() -> None:
    # What was there before is Kafka's.
    op.add_column(TABLE, sa.Column("kind", sa.String(24), nullable=True))
    op.execute("UPDATE event_source_mappings SET kind = CASE WHEN source_arn IS NULL THEN 'self-managed-kafka' ELSE 'msk' END")
    op.alter_column(TABLE, "kind", nullable=False)
    op.add_column(TABLE, sa.Column("error_handling", sa.JSON, nullable=True))
    op.execute(ERROR_HANDLING)
    op.alter_column(TABLE, "error_handling", nullable=False)
    op.alter_column(TABLE, "starting_position", existing_type=sa.String(16), nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM event_source_mappings WHERE kind NOT IN ('msk', 'self-managed-kafka')")
    op.alter_column(TABLE, "starting_position", existing_type=sa.String(16), nullable=False)
    op.drop_column(TABLE, "error_handling")
    op.drop_column(TABLE, "kind")
