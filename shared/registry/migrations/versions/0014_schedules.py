"""EventBridge Scheduler: groups, schedules and client tokens; timers, which are scheduled rules' too."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def key(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length, collation="C"), nullable=False)


def number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "schedule_groups",
        key("region", 32),
        key("name", 64),
        sa.Column("tags", sa.JSON(), nullable=False),
        number("created_ms"),
        number("modified_ms"),
        sa.PrimaryKeyConstraint("region", "name", name="pk_schedule_groups"),
    )
    op.create_table(
        "schedules",
        key("region", 32),
        key("group_name", 64),
        key("name", 64),
        sa.Column("expression", sa.String(256), nullable=False),
        sa.Column("time_zone", sa.String(50), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("kms_key_arn", sa.Text(), nullable=True),
        number("start_ms", nullable=True),
        number("end_ms", nullable=True),
        sa.Column("window_minutes", sa.Integer(), nullable=True),
        sa.Column("after_completion", sa.String(16), nullable=False),
        sa.Column("target", sa.JSON(), nullable=False),
        number("created_ms"),
        number("modified_ms"),
        sa.PrimaryKeyConstraint("region", "group_name", "name", name="pk_schedules"),
        sa.ForeignKeyConstraint(
            ["region", "group_name"], ["schedule_groups.region", "schedule_groups.name"], name="fk_schedules_region"
        ),
    )
    op.create_table(
        "timers",
        key("owner", 512),
        sa.Column("generation", sa.String(32), nullable=False),
        sa.Column("expression", sa.String(256), nullable=False),
        sa.Column("time_zone", sa.String(50), nullable=False),
        number("anchor_ms"),
        number("start_ms", nullable=True),
        number("end_ms", nullable=True),
        number("window_ms"),
        number("due_ms", nullable=True),
        number("fire_at_ms", nullable=True),
        number("last_due_ms"),
        number("advanced_ms"),
        sa.PrimaryKeyConstraint("owner", name="pk_timers"),
    )
    op.create_index("ix_timers_fire_at_ms", "timers", ["fire_at_ms"], postgresql_where=sa.text("fire_at_ms IS NOT NULL"))
    op.create_table(
        "scheduler_tokens",
        key("region", 32),
        key("token", 64),
        sa.Column("digest", sa.String(64), nullable=False),
        number("used_ms"),
        sa.PrimaryKeyConstraint("region", "token", name="pk_scheduler_tokens"),
    )
    op.create_index("ix_scheduler_tokens_used_ms", "scheduler_tokens", ["used_ms"])


def downgrade() -> None:
    op.drop_table("scheduler_tokens")
    op.drop_table("timers")
    op.drop_table("schedules")
    op.drop_table("schedule_groups")
