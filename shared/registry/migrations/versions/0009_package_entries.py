"""How many files, links and directories a package unpacks to. Of packages stored before, nobody has counted them: 0."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("packages", sa.Column("entries", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("packages", "entries")
