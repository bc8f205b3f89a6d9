"""How services that have left the query protocol named things in it: newer models have forgotten, older clients have not.

Source: botocore's models of these services from before they changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class QueryNames:
    """elements: by list or map, (name of keys, name of elements or values). members: by shape, what a member of it is called.

    errors: by shape, or by name of errors that the model has not. protocols: those that the newer model does not list.
    error_detail: whether errors have an empty element `Detail`.
    """

    protocols: tuple[str, ...] = ()
    namespace: str = ""
    elements: Mapping[str, tuple[str | None, str]] = dataclasses.field(default_factory=dict)
    members: Mapping[str, str] = dataclasses.field(default_factory=dict)
    errors: Mapping[str, str] = dataclasses.field(default_factory=dict)
    error_detail: bool = False


_NONE = QueryNames()
_NAME_VALUE = ("Name", "Value")
_SQS_BATCHES = ("ChangeMessageVisibilityBatch", "DeleteMessageBatch", "SendMessageBatch")
_SQS = QueryNames(
    protocols=("query",),
    namespace="http://queue.amazonaws.com/doc/2012-11-05/",
    elements={
        "AWSAccountIdList": (None, "AWSAccountId"),
        "ActionNameList": (None, "ActionName"),
        "AttributeNameList": (None, "AttributeName"),
        "BatchResultErrorEntryList": (None, "BatchResultErrorEntry"),
        "BinaryList": (None, "BinaryListValue"),
        "ListMessageMoveTasksResultEntryList": (None, "ListMessageMoveTasksResultEntry"),
        "MessageAttributeNameList": (None, "MessageAttributeName"),
        "MessageBodyAttributeMap": _NAME_VALUE,
        "MessageBodySystemAttributeMap": _NAME_VALUE,
        "MessageList": (None, "Message"),
        "MessageSystemAttributeList": (None, "MessageSystemAttributeName"),
        "MessageSystemAttributeMap": _NAME_VALUE,
        "QueueAttributeMap": _NAME_VALUE,
        "QueueUrlList": (None, "QueueUrl"),
        "StringList": (None, "StringListValue"),
        "TagKeyList": (None, "TagKey"),
        "TagMap": ("Key", "Value"),
        **{f"{batch}RequestEntryList": (None, f"{batch}RequestEntry") for batch in _SQS_BATCHES},
        **{f"{batch}ResultEntryList": (None, f"{batch}ResultEntry") for batch in _SQS_BATCHES},
    },
    members={
        "BinaryList": "BinaryListValue",
        "MessageBodyAttributeMap": "MessageAttribute",
        "MessageBodySystemAttributeMap": "MessageSystemAttribute",
        "MessageSystemAttributeMap": "Attribute",
        "QueueAttributeMap": "Attribute",
        "StringList": "StringListValue",
        "TagMap": "Tag",
    },
    errors={
        **{
            name: f"AWS.SimpleQueueService.{name}"
            for name in (
                "BatchEntryIdsNotDistinct",
                "BatchRequestTooLong",
                "EmptyBatchRequest",
                "InvalidBatchEntryId",
                "MessageNotInflight",
                "PurgeQueueInProgress",
                "QueueDeletedRecently",
                "TooManyEntriesInBatchRequest",
                "UnsupportedOperation",
            )
        },
        "InvalidParameterValueException": "InvalidParameterValue",
        "MissingRequiredParameterException": "MissingParameter",
        "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
        "QueueNameExists": "QueueAlreadyExists",
    },
    error_detail=True,
)
_OF = {"sqs": _SQS}


def of(service: str) -> QueryNames:
    return _OF.get(service, _NONE)
