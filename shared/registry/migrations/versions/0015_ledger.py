"""The ledger: how every asynchronous event stands, and what happened to it.

Partitions are made by the router, which knows the time.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_functions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("arn", sa.Text(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_functions"),
        sa.UniqueConstraint("arn", name="uq_ledger_functions_arn"),
    )
    op.create_table(
        "ledger_events",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("accepted_ms", sa.BigInteger, nullable=False),
        sa.Column("topic_offset", sa.BigInteger, nullable=False),
        sa.Column("function_id", sa.Integer, nullable=False),
        sa.Column("started_after_ms", sa.Integer, nullable=False),
        sa.Column("changed_after_ms", sa.Integer, nullable=False),
        sa.Column("topic_partition", sa.SmallInteger, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("attempts", sa.SmallInteger, nullable=False),
        sa.Column("qualifier", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("next_ms", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("id", "accepted_ms", name="pk_ledger_events"),
        postgresql_partition_by="RANGE (accepted_ms)",
    )
    op.create_index("ix_ledger_events_function_id", "ledger_events", ["function_id", "accepted_ms"])
    op.create_index(
        "ix_ledger_events_status", "ledger_events", ["status", "accepted_ms"], postgresql_where=sa.text("status <> 10")
    )
    op.create_table(
        "ledger_steps",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("digest", sa.BigInteger, nullable=False),
        sa.Column("target", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("source", sa.Text),
        sa.PrimaryKeyConstraint("id", "at_ms", "kind", "digest", name="pk_ledger_steps"),
        postgresql_partition_by="RANGE (at_ms)",
    )
    op.create_index("ix_ledger_steps_kind", "ledger_steps", ["kind", "at_ms"])


def downgrade() -> None:
    op.drop_table("ledger_steps")
    op.drop_table("ledger_events")
    op.drop_table("ledger_functions")
