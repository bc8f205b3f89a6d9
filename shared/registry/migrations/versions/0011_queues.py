"""Queues, with what their owners have set, and the names of queues that were deleted a moment ago."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queues",
        sa.Column("region", sa.String(32, collation="C"), nullable=False),
        sa.Column("name", sa.String(140, collation="C"), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("dead_letter_arn", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("modified_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("region", "name", name="pk_queues"),
    )
    op.create_index("ix_queues_dead_letter_arn", "queues", ["dead_letter_arn", "name"])
    op.create_table(
        "deleted_queues",
        sa.Column("region", sa.String(32, collation="C"), nullable=False),
        sa.Column("name", sa.String(140, collation="C"), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("region", "name", name="pk_deleted_queues"),
    )


def downgrade() -> None:
    op.drop_table("deleted_queues")
    op.drop_table("queues")
