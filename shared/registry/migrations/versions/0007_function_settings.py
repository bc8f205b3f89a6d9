"""Recursive loops of functions, and how versions follow new versions of their runtime."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("functions", sa.Column("recursive_loop", sa.String(16), server_default="Terminate", nullable=False))
    op.create_table(
        "runtime_management_configs",
        sa.Column("function_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("update_on", sa.String(16), nullable=False),
        sa.Column("runtime_version_arn", sa.Text),
        sa.PrimaryKeyConstraint("function_id", "number", name="pk_runtime_management_configs"),
        sa.ForeignKeyConstraint(
            ["function_id", "number"],
            ["versions.function_id", "versions.number"],
            name="fk_runtime_management_configs_function_id",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("runtime_management_configs")
    op.drop_column("functions", "recursive_loop")
