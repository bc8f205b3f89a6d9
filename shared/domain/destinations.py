"""Where outcomes can go: every kind of destination, and what each may be used for.

The control plane accepts what is here and the router has a way to deliver each, so that what is accepted can be delivered.
Source of the uses: "Capturing records of Lambda asynchronous invocations", "Dead-letter queues" and "Retaining discarded
batches" in the Lambda developer guide.
"""

from __future__ import annotations

import enum
import re

import msgspec

from shared.domain.arns import Home, parse_function_reference
from shared.domain.errors import ValidationException

TOPIC_SCHEME = "kafka://"
ADDRESS = "http"
"""What an address of http or https is called beside the kinds: subscriptions have them, no destination is one."""


API_DESTINATION = "api-destination"
"""What EventBridge's API destinations are called, which are of the same service as its buses; none is a destination here."""
_API_DESTINATION = ":api-destination/"


class Use(enum.Enum):
    ON_SUCCESS = "the record of an asynchronous invocation that succeeded"
    ON_FAILURE = "the record of an asynchronous invocation that failed"
    DEAD_LETTER = "the event of an asynchronous invocation that failed"
    DISCARDED_BATCH = "the record of a batch that an event source mapping gave up"


class DestinationKind(msgspec.Struct, frozen=True):
    """name: the service in the target's ARN, or "kafka". form: of a target, as it is configured."""

    name: str
    form: re.Pattern[str]
    uses: frozenset[Use]


def _arn(service: str, resource: str, *, regional: bool = True) -> re.Pattern[str]:
    place = r"[a-z0-9-]+:\d{12}" if regional else ":"
    return re.compile(rf"arn:aws[a-zA-Z-]*:{service}:{place}:{resource}")


QUEUE = DestinationKind("sqs", _arn("sqs", r"[a-zA-Z0-9_-]{1,80}"), frozenset(Use))
TOPIC = DestinationKind("sns", _arn("sns", r"[a-zA-Z0-9_-]{1,256}"), frozenset(Use))
FUNCTION = DestinationKind(
    "lambda",
    _arn("lambda", r"function:[a-zA-Z0-9_-]{1,64}(:[a-zA-Z0-9$_-]{1,128})?"),
    frozenset({Use.ON_SUCCESS, Use.ON_FAILURE}),
)
BUCKET = DestinationKind(
    "s3", _arn("s3", r"[a-zA-Z0-9_.-]{3,255}", regional=False), frozenset({Use.ON_FAILURE, Use.DISCARDED_BATCH})
)
KAFKA_TOPIC = DestinationKind(
    "kafka",
    re.compile(re.escape(TOPIC_SCHEME) + r"[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,248}"),
    frozenset({Use.ON_SUCCESS, Use.ON_FAILURE, Use.DISCARDED_BATCH}),
)
EVENT_BUS = DestinationKind(
    "events", _arn("events", r"event-bus/[a-zA-Z0-9._/-]{1,256}"), frozenset({Use.ON_SUCCESS, Use.ON_FAILURE})
)
KINDS = (QUEUE, TOPIC, FUNCTION, EVENT_BUS, BUCKET, KAFKA_TOPIC)
"""FIFO queues and topics are none of them: AWS does not take them either. Kafka topics it takes for batches alone."""


def kind_of(target: str) -> str:
    """What a target is called in metrics and messages, also one that is none of KINDS: the service of an ARN, "kafka", "http"
    or "api-destination"."""
    if target.startswith(TOPIC_SCHEME):
        return KAFKA_TOPIC.name
    if target.startswith(("http://", "https://")):
        return ADDRESS
    service = [*target.split(":"), "", "", ""][2]
    return API_DESTINATION if service == EVENT_BUS.name and _API_DESTINATION in target else service


def is_deliverable(target: str, use: Use) -> bool:
    """Whether the router can deliver `use` to `target`."""
    return any(use in kind.uses and kind.form.fullmatch(target) for kind in KINDS)


def is_function(target: str) -> bool:
    return FUNCTION.form.fullmatch(target) is not None


def is_function_elsewhere(target: str, home: Home) -> bool:
    """Whether a target is a function that another account or region has: only those of the same home can be invoked."""
    if not is_function(target):
        return False
    try:
        function = parse_function_reference(target)
    except ValidationException:
        return True
    return (function.region, function.account) != (home.region, home.account_id)
