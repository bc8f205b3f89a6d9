"""What queues are made of: frozen records that say what goes in and what comes out. Times are Unix milliseconds."""

from __future__ import annotations

from typing import Literal, Self

import msgspec

from shared.domain.arns import Home

VISIBILITY_S_DEFAULT = 30
VISIBILITY_S_MAX = 43_200
RETENTION_S_DEFAULT = 345_600
MESSAGE_BYTES_MAX = 1_048_576
ATTRIBUTES_MAX = 10
IN_FLIGHT_MAX = 120_000
IN_FLIGHT_MAX_FIFO = 20_000
RECEIVED_MAX = 10


class QueueId(msgspec.Struct, frozen=True):
    """A queue of a home. A FIFO queue is one whose name ends in `.fifo`, and no other."""

    home: Home
    name: str

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(".fifo")

    @property
    def arn(self) -> str:
        return f"arn:aws:sqs:{self.home.region}:{self.home.account_id}:{self.name}"

    @classmethod
    def of_arn(cls, arn: str) -> Self:
        """Raises ValueError when it is not the ARN of a queue."""
        words = arn.split(":")
        if len(words) != 6 or words[0] != "arn" or words[2] != "sqs" or not words[5]:
            raise ValueError(f"not the ARN of a queue: {arn}")
        return cls(Home(account_id=words[4], region=words[3]), words[5])


class DeadLetters(msgspec.Struct, frozen=True):
    """A redrive policy: what was received receives_max times and comes up again goes to the target instead."""

    target: QueueId
    receives_max: int


class QueueSettings(msgspec.Struct, frozen=True):
    """What the engine has to know of a queue. Defaults are AWS's.

    revision: grows with every change of the queue, also when it is deleted and made again (the time of the change in
    milliseconds will do): older settings never replace newer ones. deduplicate_by_group: DeduplicationScope messageGroup.
    in_flight_max: 0 stands for AWS's bound, 120,000 or for a FIFO queue 20,000.
    """

    revision: int
    visibility_s: int = VISIBILITY_S_DEFAULT
    delay_s: int = 0
    retention_s: int = RETENTION_S_DEFAULT
    wait_s: int = 0
    message_bytes_max: int = MESSAGE_BYTES_MAX
    content_based_deduplication: bool = False
    deduplicate_by_group: bool = False
    dead_letters: DeadLetters | None = None
    in_flight_max: int = 0


class Attribute(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """A message attribute as SQS shows it. data_type: String, Number or Binary, perhaps with `.custom` behind it; a binary
    value is base64 in JSON."""

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """Of type and value, as SQS counts them."""
        value = self.binary_value if self.binary_value is not None else (self.string_value or "").encode()
        return len(self.data_type.encode()) + len(value)


class Message(msgspec.Struct, frozen=True):
    """A message to be sent.

    trace_header: the system attribute AWSTraceHeader. delay_s: None for the queue's own; a FIFO queue has only that.
    group_id: of a FIFO queue's message in any case, of another's perhaps (fair queues). deduplication_id: of a FIFO queue;
    None takes the SHA-256 of the body where the queue deduplicates by content. delivery_id: for who may send a message
    twice and must not: within 15 minutes the second with the same one is not sent, in any queue. The message id follows from
    it.
    """

    body: bytes
    attributes: dict[str, Attribute] = {}
    sender_id: str = ""
    trace_header: str | None = None
    delay_s: int | None = None
    group_id: str | None = None
    deduplication_id: str | None = None
    delivery_id: str | None = None

    @property
    def size_bytes(self) -> int:
        """Body, and of each attribute name, type and value: what MaximumMessageSize bounds."""
        return len(self.body) + sum(len(name.encode()) + each.size_bytes for name, each in self.attributes.items())


class Sent(msgspec.Struct, frozen=True):
    """A message that the queue has; of a duplicate, the message that was sent first. sequence_number: of FIFO queues."""

    message_id: str
    md5_of_body: str
    sequence_number: str | None = None


class TooLong(msgspec.Struct, frozen=True):
    """A message that was not sent. bytes_max: what the queue takes."""

    bytes_max: int


class Received(msgspec.Struct, frozen=True):
    """A message that was received. receive_count: this receive included, and those of the queue that it was a dead letter of.

    sequence_number: of FIFO queues. source_arn: of the queue that it was a dead letter of.
    """

    message_id: str
    receipt_handle: str
    body: bytes
    md5_of_body: str
    attributes: dict[str, Attribute]
    sender_id: str
    sent_at_ms: int
    receive_count: int
    first_received_at_ms: int
    group_id: str | None = None
    deduplication_id: str | None = None
    sequence_number: str | None = None
    trace_header: str | None = None
    source_arn: str | None = None


Settlement = Literal["done", "invalid", "stale", "expired", "missing", "visible", "too-far"]
"""What became of one receipt handle.

done: as asked; of a deletion also when the message was gone already. invalid: no handle of this queue. stale: the message was
received again since, and stays as it is. expired: of a FIFO queue's message that is visible again. missing: no such message
(change of visibility). visible: the message is visible again, and stays so (change of visibility, standard queues).
too-far: later than 12 hours after it was received.
"""


class Counts(msgspec.Struct, frozen=True):
    """Messages of a queue: exact. revision: of the settings that hold."""

    visible: int
    in_flight: int
    delayed: int
    revision: int


class MoveTask(msgspec.Struct, frozen=True):
    """Messages on their way out of a dead-letter queue.

    destination: None for the queues that they came from. per_second_max: None moves as fast as it goes. to_move: what was
    there at the start. failure: an error code of SQS.
    """

    task_id: str
    source: QueueId
    destination: QueueId | None
    per_second_max: int | None
    status: Literal["RUNNING", "COMPLETED", "CANCELLING", "CANCELLED", "FAILED"]
    moved: int
    to_move: int
    started_at_ms: int
    failure: str | None = None
