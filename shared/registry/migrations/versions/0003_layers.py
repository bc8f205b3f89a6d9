"""Layers, their versions, and which packages are in the package store."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "packages",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("unzipped_bytes", sa.BigInteger, nullable=False),
        sa.Column("unused_since_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("sha256", name="pk_packages"),
    )
    op.create_index(
        "ix_packages_unused_since_ms",
        "packages",
        ["unused_since_ms"],
        postgresql_where=sa.text("unused_since_ms IS NOT NULL"),
    )
    op.create_table(
        "layers",
        sa.Column("name", sa.String(140, collation="C"), nullable=False),
        sa.Column("last_version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_layers"),
    )
    op.create_table(
        "layer_versions",
        sa.Column("layer_name", sa.String(140, collation="C"), nullable=False),
        sa.Column("number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("code_sha256", sa.String(64), nullable=False),
        sa.Column("code_bytes", sa.BigInteger, nullable=False),
        sa.Column("unzipped_bytes", sa.BigInteger, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("license_info", sa.Text),
        sa.Column("compatible_runtimes", postgresql.ARRAY(sa.String(64))),
        sa.Column("compatible_architectures", postgresql.ARRAY(sa.String(16))),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("policy_statements", sa.JSON(none_as_null=True)),
        sa.Column("policy_revision_id", sa.String(36)),
        sa.PrimaryKeyConstraint("layer_name", "number", name="pk_layer_versions"),
        sa.ForeignKeyConstraint(["layer_name"], ["layers.name"], name="fk_layer_versions_layer_name"),
    )
    op.create_index("ix_layer_versions_code_sha256", "layer_versions", ["code_sha256"])
    op.create_index("ix_versions_code_sha256", "versions", ["code_sha256"])
    op.create_index(
        "ix_versions_layered",
        "versions",
        ["function_id"],
        postgresql_where=sa.text("(configuration -> 'layers') IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_versions_layered")
    op.drop_index("ix_versions_code_sha256")
    for table in ("layer_versions", "layers", "packages"):
        op.drop_table(table)
