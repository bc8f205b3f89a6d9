"""What is in one region is not in another: functions, layers, mappings and code signing configurations have one.

What was there before is in the region that the settings name.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = ("functions", "layers", "layer_versions", "event_source_mappings", "code_signing_configs")


def upgrade() -> None:
    region = context.config.attributes["region"]
    for table in TABLES:
        # With a default only while it is added: no row is written anew for it.
        column = sa.Column("region", sa.String(32, collation="C"), nullable=False, server_default=region)
        op.add_column(table, column)
        op.alter_column(table, "region", server_default=None)
    op.drop_constraint("uq_functions_name", "functions")
    op.create_unique_constraint("uq_functions_region", "functions", ["region", "name"])
    op.create_index("ix_code_signing_configs_region", "code_signing_configs", ["region", "id"])
    op.create_index("ix_event_source_mappings_region", "event_source_mappings", ["region", "uuid"])
    op.drop_constraint("fk_layer_versions_layer_name", "layer_versions")
    op.drop_constraint("pk_layer_versions", "layer_versions")
    op.drop_constraint("pk_layers", "layers")
    op.create_primary_key("pk_layers", "layers", ["region", "name"])
    op.create_primary_key("pk_layer_versions", "layer_versions", ["region", "layer_name", "number"])
    op.create_foreign_key("fk_layer_versions_region", "layer_versions", "layers", ["region", "layer_name"], ["region", "name"])


def downgrade() -> None:
    region = context.config.attributes["region"]
    for table in ("event_source_mappings", "functions", "layer_versions", "layers", "code_signing_configs"):
        op.execute(sa.text(f"DELETE FROM {table} WHERE region <> :region").bindparams(region=region))
    op.drop_constraint("fk_layer_versions_region", "layer_versions")
    op.drop_constraint("pk_layer_versions", "layer_versions")
    op.drop_constraint("pk_layers", "layers")
    op.create_primary_key("pk_layers", "layers", ["name"])
    op.create_primary_key("pk_layer_versions", "layer_versions", ["layer_name", "number"])
    op.create_foreign_key("fk_layer_versions_layer_name", "layer_versions", "layers", ["layer_name"], ["name"])
    op.drop_index("ix_event_source_mappings_region", "event_source_mappings")
    op.drop_index("ix_code_signing_configs_region", "code_signing_configs")
    op.drop_constraint("uq_functions_region", "functions")
    op.create_unique_constraint("uq_functions_name", "functions", ["name"])
    for table in TABLES:
        op.drop_column(table, "region")
