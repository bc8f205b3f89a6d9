"""Resource policies, and an index for the sum of reserved concurrency."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policies",
        sa.Column("function_id", sa.String(32), nullable=False),
        sa.Column("qualifier", sa.String(140, collation="C"), nullable=False),
        sa.Column("statements", sa.JSON, nullable=False),
        sa.Column("revision_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("function_id", "qualifier", name="pk_policies"),
        sa.ForeignKeyConstraint(["function_id"], ["functions.id"], name="fk_policies_function_id", ondelete="CASCADE"),
    )
    op.create_index(
        "ix_functions_reserved_concurrency",
        "functions",
        ["reserved_concurrency"],
        postgresql_where=sa.text("reserved_concurrency IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_functions_reserved_concurrency")
    op.drop_table("policies")
