"""What the engine has to know of a queue, of its attributes as Postgres has them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.domain.queue_attributes import DEFAULTS
from shared.queues.records import DeadLetters, QueueId, QueueSettings


class _RedrivePolicy(msgspec.Struct, frozen=True, rename="camel"):
    dead_letter_target_arn: str
    max_receive_count: int


_redrive_policy = msgspec.json.Decoder(_RedrivePolicy)


def settings_of(attributes: Mapping[str, str], revision: int) -> QueueSettings:
    """attributes: by SQS's names, without those that have their defaults (`shared/domain/queue_attributes.py`)."""

    def number(name: str) -> int:
        return int(attributes.get(name, DEFAULTS[name]))

    policy = attributes.get("RedrivePolicy")
    return QueueSettings(
        revision=revision,
        visibility_s=number("VisibilityTimeout"),
        delay_s=number("DelaySeconds"),
        retention_s=number("MessageRetentionPeriod"),
        wait_s=number("ReceiveMessageWaitTimeSeconds"),
        message_bytes_max=number("MaximumMessageSize"),
        content_based_deduplication=attributes.get("ContentBasedDeduplication") == "true",
        deduplicate_by_group=attributes.get("DeduplicationScope") == "messageGroup",
        dead_letters=_dead_letters(policy) if policy else None,
    )


def _dead_letters(text: str) -> DeadLetters:
    policy = _redrive_policy.decode(text)
    return DeadLetters(QueueId.of_arn(policy.dead_letter_target_arn), policy.max_receive_count)
