"""The tables of SNS: topics, subscriptions, mobile applications and endpoints, settings of text messages."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, ForeignKeyConstraint, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.registry.tables import Base, region_column


class TopicTable(Base):
    """attributes: those that were set. revision: of the last change of the topic or of its subscriptions."""

    __tablename__ = "sns_topics"

    region: Mapped[str] = region_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(256, collation="C"), primary_key=True)
    attributes: Mapped[dict[str, str]] = mapped_column(JSON)
    tags: Mapped[dict[str, str]] = mapped_column(JSON)
    revision: Mapped[int] = mapped_column(BigInteger)


class SubscriptionTable(Base):
    """endpoint_digest: an endpoint may be longer than what an index takes."""

    __tablename__ = "sns_subscriptions"
    __table_args__ = (
        ForeignKeyConstraint(["region", "topic_name"], ["sns_topics.region", "sns_topics.name"], ondelete="CASCADE"),
        UniqueConstraint("region", "topic_name", "protocol", "endpoint_digest"),
        Index("ix_sns_subscriptions_region", "region", "id"),
        Index("ix_sns_subscriptions_token", "token"),
    )

    id: Mapped[str] = mapped_column(String(36, collation="C"), primary_key=True)
    region: Mapped[str] = region_column()
    topic_name: Mapped[str] = mapped_column(String(256, collation="C"))
    protocol: Mapped[str] = mapped_column(String(16))
    endpoint: Mapped[str] = mapped_column(Text)
    endpoint_digest: Mapped[str] = mapped_column(String(64))
    principal_arn: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    attributes: Mapped[dict[str, str]] = mapped_column(JSON)
    authenticated: Mapped[bool] = mapped_column(Boolean)
    locked: Mapped[bool] = mapped_column(Boolean)
    token: Mapped[str | None] = mapped_column(String(288))
    since_ms: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(BigInteger)


class PlatformApplicationTable(Base):
    __tablename__ = "sns_platform_applications"

    region: Mapped[str] = region_column(primary_key=True)
    platform: Mapped[str] = mapped_column(String(32, collation="C"), primary_key=True)
    name: Mapped[str] = mapped_column(String(256, collation="C"), primary_key=True)
    attributes: Mapped[dict[str, str]] = mapped_column(JSON)


class PlatformEndpointTable(Base):
    __tablename__ = "sns_platform_endpoints"
    __table_args__ = (
        ForeignKeyConstraint(
            ["region", "platform", "application"],
            [f"sns_platform_applications.{name}" for name in ("region", "platform", "name")],
            ondelete="CASCADE",
        ),
        Index("ix_sns_platform_endpoints_region", "region", "platform", "application", "id"),
        UniqueConstraint("region", "platform", "application", "token_digest"),
    )

    id: Mapped[str] = mapped_column(String(36, collation="C"), primary_key=True)
    region: Mapped[str] = region_column()
    platform: Mapped[str] = mapped_column(String(32, collation="C"))
    application: Mapped[str] = mapped_column(String(256, collation="C"))
    token_digest: Mapped[str] = mapped_column(String(64))
    attributes: Mapped[dict[str, str]] = mapped_column(JSON)


class TextMessageTable(Base):
    """What SetSMSAttributes was given."""

    __tablename__ = "sns_sms_attributes"

    region: Mapped[str] = region_column(primary_key=True)
    attributes: Mapped[dict[str, str]] = mapped_column(JSON)


class SigningKeyTable(Base):
    """The one key that messages are signed with. sealed_key: PEM, under the cluster's secret. certificate: PEM."""

    __tablename__ = "sns_signing_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    sealed_key: Mapped[bytes] = mapped_column(LargeBinary)
    certificate: Mapped[str] = mapped_column(Text)
