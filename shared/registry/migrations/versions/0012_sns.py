"""Topics, subscriptions, mobile applications and endpoints, and the key that messages are signed with."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def region() -> sa.Column[str]:
    return sa.Column("region", sa.String(32, collation="C"), nullable=False)


def text(name: str, characters: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(characters, collation="C"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "sns_topics",
        region(),
        text("name", 256),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("region", "name", name="pk_sns_topics"),
    )
    op.create_table(
        "sns_subscriptions",
        text("id", 36),
        region(),
        text("topic_name", 256),
        sa.Column("protocol", sa.String(16), nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("endpoint_digest", sa.String(64), nullable=False),
        sa.Column("principal_arn", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("authenticated", sa.Boolean, nullable=False),
        sa.Column("locked", sa.Boolean, nullable=False),
        sa.Column("token", sa.String(288), nullable=True),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sns_subscriptions"),
        sa.UniqueConstraint("region", "topic_name", "protocol", "endpoint_digest", name="uq_sns_subscriptions_region"),
        sa.ForeignKeyConstraint(
            ["region", "topic_name"],
            ["sns_topics.region", "sns_topics.name"],
            name="fk_sns_subscriptions_region",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_sns_subscriptions_region", "sns_subscriptions", ["region", "id"])
    op.create_index("ix_sns_subscriptions_token", "sns_subscriptions", ["token"])
    op.create_table(
        "sns_platform_applications",
        region(),
        text("platform", 32),
        text("name", 256),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("region", "platform", "name", name="pk_sns_platform_applications"),
    )
    op.create_table(
        "sns_platform_endpoints",
        text("id", 36),
        region(),
        text("platform", 32),
        text("application", 256),
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sns_platform_endpoints"),
        sa.UniqueConstraint("region", "platform", "application", "token_digest", name="uq_sns_platform_endpoints_region"),
        sa.ForeignKeyConstraint(
            ["region", "platform", "application"],
            [f"sns_platform_applications.{name}" for name in ("region", "platform", "name")],
            name="fk_sns_platform_endpoints_region",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_sns_platform_endpoints_region", "sns_platform_endpoints", ["region", "platform", "application", "id"])
    op.create_table(
        "sns_sms_attributes",
        region(),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("region", name="pk_sns_sms_attributes"),
    )
    op.create_table(
        "sns_signing_keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary, nullable=False),
        sa.Column("certificate", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sns_signing_keys"),
    )


def downgrade() -> None:
    for table in (
        "sns_signing_keys",
        "sns_sms_attributes",
        "sns_platform_endpoints",
        "sns_platform_applications",
        "sns_subscriptions",
        "sns_topics",
    ):
        op.drop_table(table)
