"""Code signing configurations, and which functions use them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "code_signing_configs",
        sa.Column("id", sa.String(32, collation="C"), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("publishers", sa.JSON, nullable=False),
        sa.Column("policy", sa.String(16), nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("modified_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_code_signing_configs"),
    )
    op.add_column("functions", sa.Column("code_signing_id", sa.String(32, collation="C")))
    op.create_foreign_key("fk_functions_code_signing_id", "functions", "code_signing_configs", ["code_signing_id"], ["id"])
    op.create_index("ix_functions_code_signing_id", "functions", ["code_signing_id"])


def downgrade() -> None:
    op.drop_index("ix_functions_code_signing_id")
    op.drop_column("functions", "code_signing_id")
    op.drop_table("code_signing_configs")
