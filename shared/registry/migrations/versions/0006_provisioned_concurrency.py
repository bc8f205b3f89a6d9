"""Provisioned concurrency."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provisioned_concurrency",
        sa.Column("function_id", sa.String(32), nullable=False),
        sa.Column("qualifier", sa.String(140, collation="C"), nullable=False),
        sa.Column("requested", sa.Integer, nullable=False),
        sa.Column("allocated", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_reason", sa.Text, nullable=False),
        sa.Column("held_version", sa.Integer),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("modified_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("function_id", "qualifier", name="pk_provisioned_concurrency"),
        sa.ForeignKeyConstraint(
            ["function_id"], ["functions.id"], name="fk_provisioned_concurrency_function_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    op.drop_table("provisioned_concurrency")
