"""Function URLs, and the head of a resource policy that was put as a whole."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "function_urls",
        sa.Column("function_id", sa.String(32), nullable=False),
        sa.Column("qualifier", sa.String(140, collation="C"), nullable=False),
        sa.Column("url_id", sa.String(32), nullable=False),
        sa.Column("auth_type", sa.String(16), nullable=False),
        sa.Column("invoke_mode", sa.String(16), nullable=False),
        sa.Column("cors", sa.JSON, nullable=True),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("modified_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("function_id", "qualifier", name="pk_function_urls"),
        sa.ForeignKeyConstraint(["function_id"], ["functions.id"], name="fk_function_urls_function_id", ondelete="CASCADE"),
        sa.UniqueConstraint("url_id", name="uq_function_urls_url_id"),
    )
    op.add_column("policies", sa.Column("document_version", sa.String(16), server_default="2012-10-17"))
    op.add_column("policies", sa.Column("document_id", sa.Text, server_default="default"))


def downgrade() -> None:
    op.drop_column("policies", "document_id")
    op.drop_column("policies", "document_version")
    op.drop_table("function_urls")
