"""EventBridge: event buses, rules, targets, archives, replays, connections and API destinations."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SCHEDULED = "schedule IS NOT NULL"
OPEN = "state IN ('STARTING', 'RUNNING', 'CANCELLING')"


def text(name: str, characters: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(characters, collation="C"), nullable=False)


def column(name: str, kind: Any, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)


def make(name: str, key: list[str], *columns: sa.Column[Any], **constraints: sa.Constraint) -> None:
    op.create_table(
        name, text("region", 32), *columns, *constraints.values(), sa.PrimaryKeyConstraint("region", *key, name=f"pk_{name}")
    )


def upgrade() -> None:
    _buses_and_rules()
    _archives_and_replays()
    _connections()


def _buses_and_rules() -> None:
    make(
        "event_buses",
        ["name"],
        text("name", 256),
        column("description", sa.Text, nullable=True),
        column("policy", sa.JSON, nullable=True),
        column("settings", sa.JSON),
        column("tags", sa.JSON),
        column("created_ms", sa.BigInteger),
        column("modified_ms", sa.BigInteger),
        column("revision", sa.BigInteger),
    )
    make(
        "event_rules",
        ["bus", "name"],
        text("bus", 256),
        text("name", 64),
        column("pattern", sa.Text, nullable=True),
        column("schedule", sa.Text, nullable=True),
        column("state", sa.String(64)),
        column("description", sa.Text, nullable=True),
        column("role_arn", sa.Text, nullable=True),
        column("tags", sa.JSON),
        bus=sa.ForeignKeyConstraint(
            ["region", "bus"],
            ["event_buses.region", "event_buses.name"],
            name="fk_event_rules_region",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_event_rules_schedule", "event_rules", ["region", "name"], postgresql_where=sa.text(SCHEDULED))
    make(
        "event_targets",
        ["bus", "rule", "id"],
        text("bus", 256),
        text("rule", 64),
        text("id", 64),
        column("arn", sa.Text),
        column("arn_digest", sa.String(64)),
        column("settings", sa.JSON),
        rule=sa.ForeignKeyConstraint(
            ["region", "bus", "rule"],
            ["event_rules.region", "event_rules.bus", "event_rules.name"],
            name="fk_event_targets_region",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_event_targets_arn", "event_targets", ["region", "arn_digest", "bus", "rule"])


def _archives_and_replays() -> None:
    make(
        "event_archives",
        ["name"],
        text("name", 64),
        text("bus", 256),
        column("description", sa.Text, nullable=True),
        column("pattern", sa.Text, nullable=True),
        column("retention_days", sa.Integer),
        column("settings", sa.JSON),
        column("topic", sa.String(255)),
        column("created_ms", sa.BigInteger),
        column("events", sa.BigInteger),
        column("size_bytes", sa.BigInteger),
    )
    op.create_index("ix_event_archives_bus", "event_archives", ["region", "bus", "name"])
    make(
        "event_replays",
        ["name"],
        text("name", 64),
        text("archive", 64),
        column("description", sa.Text, nullable=True),
        column("destination", sa.JSON),
        column("start_ms", sa.BigInteger),
        column("end_ms", sa.BigInteger),
        column("state", sa.String(16)),
        column("started_ms", sa.BigInteger),
        column("reason", sa.Text, nullable=True),
        column("ended_ms", sa.BigInteger, nullable=True),
        column("last_replayed_ms", sa.BigInteger, nullable=True),
        column("offset", sa.BigInteger, nullable=True),
        column("changed_ms", sa.BigInteger),
        column("lease_ms", sa.BigInteger),
    )
    op.create_index("ix_event_replays_open", "event_replays", ["started_ms"], postgresql_where=sa.text(OPEN))


def _connections() -> None:
    make(
        "event_connections",
        ["name"],
        text("name", 64),
        column("id", sa.String(36)),
        column("secret_id", sa.String(64)),
        column("kind", sa.String(32)),
        column("auth", sa.JSON),
        column("settings", sa.JSON),
        column("state", sa.String(32)),
        column("created_ms", sa.BigInteger),
        column("modified_ms", sa.BigInteger),
        column("authorized_ms", sa.BigInteger),
    )
    make(
        "event_api_destinations",
        ["name"],
        text("name", 64),
        column("id", sa.String(36)),
        column("settings", sa.JSON),
        column("created_ms", sa.BigInteger),
        column("modified_ms", sa.BigInteger),
    )


def downgrade() -> None:
    for name in ("api_destinations", "connections", "replays", "archives", "targets", "rules", "buses"):
        op.drop_table(f"event_{name}")
