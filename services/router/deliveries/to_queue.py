"""Queues of SQS as targets: the payload is a message's body."""

from __future__ import annotations

from services.router.deliveries.contract import DeliveryError, TargetMissingError, UndeliverableError
from shared.domain.errors import ServiceException
from shared.events.records import Delivery, MessageAttribute, QueueParameters, Role
from shared.queues.errors import DeduplicationIdMissingError, QueueMissingError, QueueUnavailableError
from shared.queues.queues import Queues
from shared.queues.records import ATTRIBUTES_MAX, Attribute, Message, QueueId, TooLong

SENDER_ID = "AIDALAMBDADROUTER0000"
"""As queues show who sent a message: on AWS the id of the service on whose behalf it is."""
NO_SUCH_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"


class ToQueue:
    """kept: whether messages for a queue that does not exist are kept for it, until it is made."""

    def __init__(self, queues: Queues, *, kept: bool = False) -> None:
        self._send = queues.keep if kept else queues.send

    async def deliver(self, delivery: Delivery) -> None:
        try:
            queue = QueueId.of_arn(delivery.target)
        except ValueError as error:
            raise UndeliverableError(str(error)) from error
        message = _message(delivery)
        # As AWS drops them. A dead letter was refused for it before, and is told whole.
        if len(message.attributes) > ATTRIBUTES_MAX and delivery.role is not Role.DEAD_LETTER:
            raise UndeliverableError(
                f"a message of a queue has {ATTRIBUTES_MAX} attributes at most, not {len(message.attributes)}"
            )
        if queue.is_fifo and not message.group_id:
            raise UndeliverableError(f"{queue.name} is a FIFO queue, and nothing says which group the message is of")
        try:
            [sent] = await self._send(queue, [message])
        except QueueMissingError as error:
            raise TargetMissingError(f"there is no queue {delivery.target}", NO_SUCH_QUEUE) from error
        except DeduplicationIdMissingError as error:
            raise UndeliverableError(f"{queue.name} deduplicates by an id, and the message has none") from error
        except (QueueUnavailableError, ServiceException) as error:
            raise DeliveryError(str(error)) from error
        if isinstance(sent, TooLong):
            raise UndeliverableError(f"{message.size_bytes} bytes are too large for a queue that takes {sent.bytes_max}")


def _message(delivery: Delivery) -> Message:
    given = delivery.parameters if isinstance(delivery.parameters, QueueParameters) else QueueParameters()
    return Message(
        body=delivery.payload,
        attributes={name: shown(attribute) for name, attribute in delivery.attributes.items()},
        sender_id=SENDER_ID,
        trace_header=delivery.trace,
        group_id=given.group_id,
        deduplication_id=given.deduplication_id,
        delivery_id=delivery.delivery_id,
    )


def shown(attribute: MessageAttribute) -> Attribute:
    if attribute.binary is not None:
        return Attribute(attribute.data_type, binary_value=attribute.binary)
    return Attribute(attribute.data_type, attribute.text)
