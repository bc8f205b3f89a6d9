"""SQS's errors: codes as the model has them, statuses and texts as AWS answers. The query protocol's codes are
`shared/aws/query_names.py`'s."""

from __future__ import annotations

from shared.domain.errors import InvalidParameterValueException, UserError

__all__ = ["InvalidParameterValueException"]


class MissingRequiredParameterException(UserError):
    code = "MissingRequiredParameterException"

    def __init__(self, name: str) -> None:
        super().__init__(f"The request must contain the parameter {name}.")
        self.name = name


class InvalidAction(UserError):
    code = "InvalidAction"
    TEXT = "The action {name} is not valid for this endpoint."

    def __init__(self, name: str) -> None:
        super().__init__(self.TEXT.format(name=name))


class InvalidAddress(UserError):
    code = "InvalidAddress"
    status = 404

    def __init__(self, address: str) -> None:
        super().__init__(f"The address {address} is not valid for this endpoint.")


class QueueDoesNotExist(UserError):
    code = "QueueDoesNotExist"

    def __init__(self, message: str = "The specified queue does not exist.") -> None:
        super().__init__(message)

    @classmethod
    def of_query(cls) -> QueueDoesNotExist:
        """As the query protocol has always said it."""
        return cls("The specified queue does not exist for this wsdl version.")


class QueueNameExists(UserError):
    code = "QueueNameExists"

    def __init__(self, attribute: str) -> None:
        super().__init__(f"A queue already exists with the same name and a different value for attribute {attribute}")


class QueueDeletedRecently(UserError):
    code = "QueueDeletedRecently"

    def __init__(self) -> None:
        super().__init__("You must wait 60 seconds after deleting a queue before you can create another with the same name.")


class PurgeQueueInProgress(UserError):
    code = "PurgeQueueInProgress"
    status = 403

    def __init__(self, queue: str) -> None:
        super().__init__(f"Only one PurgeQueue operation on {queue} is allowed every 60 seconds.")


class InvalidAttributeName(UserError):
    code = "InvalidAttributeName"


class UnknownAttribute(InvalidAttributeName):
    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown Attribute {name}.")


class InvalidAttributeValue(UserError):
    code = "InvalidAttributeValue"

    @classmethod
    def of(cls, name: str) -> InvalidAttributeValue:
        return cls(f"Invalid value for the parameter {name}.")


class OverLimit(UserError):
    code = "OverLimit"
    status = 403


class InvalidMessageContents(UserError):
    code = "InvalidMessageContents"

    def __init__(self) -> None:
        super().__init__(
            "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | "
            "#x10000 to #x10FFFF"
        )


class ReceiptHandleIsInvalid(UserError):
    code = "ReceiptHandleIsInvalid"
    status = 404

    def __init__(self, handle: str) -> None:
        super().__init__(f'The input receipt handle "{handle}" is not a valid receipt handle.')


class EmptyBatchRequest(UserError):
    code = "EmptyBatchRequest"

    def __init__(self, entry: str) -> None:
        super().__init__(f"There should be at least one {entry} in the request.")


class TooManyEntriesInBatchRequest(UserError):
    code = "TooManyEntriesInBatchRequest"

    def __init__(self, allowed: int, sent: int) -> None:
        super().__init__(f"Maximum number of entries per request are {allowed}. You have sent {sent}.")


class BatchEntryIdsNotDistinct(UserError):
    code = "BatchEntryIdsNotDistinct"

    def __init__(self, entry_id: str) -> None:
        super().__init__(f"Id {entry_id} repeated.")


class InvalidBatchEntryId(UserError):
    code = "InvalidBatchEntryId"

    def __init__(self) -> None:
        super().__init__(
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
            "It can be at most 80 letters long."
        )


class BatchRequestTooLong(UserError):
    code = "BatchRequestTooLong"

    def __init__(self, allowed_bytes: int, sent_bytes: int) -> None:
        super().__init__(f"Batch requests cannot be longer than {allowed_bytes} bytes. You have sent {sent_bytes} bytes.")


class ResourceMissing(UserError):
    """Of operations that name queues by their ARNs."""

    code = "ResourceNotFoundException"
    status = 404

    def __init__(self, parameter: str) -> None:
        super().__init__(f"The resource that you specified for the {parameter} parameter doesn't exist.")


class UnsupportedOperation(UserError):
    code = "UnsupportedOperation"


def bad_value(value: object, parameter: str, reason: str) -> InvalidParameterValueException:
    """In the words that SQS has for most parameters."""
    return InvalidParameterValueException(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")
