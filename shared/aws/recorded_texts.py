"""Where AWS's answers differ from its own service model: what it prints, and what it leaves to the operation.

Everything here was recorded from AWS. Keys are shape names, or operation and parameter path where a shape is not enough.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set

from shared.domain.runtimes import RUNTIMES_CURRENT


@dataclasses.dataclass(frozen=True)
class RecordedTexts:
    """patterns: checked and printed in place of the model's. choices: enumerations in the order in which they are printed.

    choices_at: printed by one operation only; what is accepted besides is the model's list. plain_list_choices: lists whose
    enumeration is printed without the brackets that other constraints of list members get. member_may_be_null: lists whose
    members' constraints do not end with `Member must not be null`, as those of all other lists and of maps' values do.
    left_to_the_operation: enumerations that AWS checks after everything else, inside the operation.
    maximum_left_to_the_operation: numbers whose maximum depends on the account and on what the function is; the model has the
    largest of all. members_first: members whose violations were seen in another order than the model's.
    """

    patterns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    choices_at: Mapping[tuple[str, str], tuple[str, ...]] = dataclasses.field(default_factory=dict)
    plain_list_choices: Set[str] = frozenset()
    member_may_be_null: Set[str] = frozenset()
    left_to_the_operation: Set[tuple[str, str]] = frozenset()
    maximum_left_to_the_operation: Set[str] = frozenset()
    members_first: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


_PATTERNS = {
    "LayerVersionArn": (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)"
        r"|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
    ),
    "TaggableResource": (
        r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:"
        r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}"
        r"|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
        r"|capacity-provider:[a-zA-Z0-9-_]+)"
    ),
}

_CHOICES = {
    "RecursiveLoop": ("Terminate", "Allow"),
    "EventSourcePosition": ("LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"),
    "InvokeMode": ("RESPONSE_STREAM", "BUFFERED"),
}

# fmt: off
RUNTIMES_EVER = (
    "ruby3.5", "ruby2.6", "dotnetcore1.0", "python3.7", "nodejs8.10", "nasa", "ruby2.7", "python2.7-greengrass",
    "dotnetcore2.0", "python3.8", "java21", "dotnet6", "dotnetcore2.1", "python3.9", "java11", "nodejs6.10", "provided",
    "dotnetcore3.1", "dotnet8", "java25", "java17", "nodejs", "nodejs4.3", "java8.al2", "go1.x", "dotnet10", "nodejs20.x",
    "go1.9", "byol", "nodejs10.x", "provided.al2023", "nodejs22.x", "python3.10", "java8", "nodejs12.x", "python3.11",
    "nodejs24.x", "nodejs8.x", "python3.12", "nodejs14.x", "nodejs8.9", "nodejs26.x", "python3.13", "python3.14",
    "nodejs16.x", "python3.15", "provided.al2", "nodejs4.3-edge", "nodejs18.x", "ruby3.2", "python3.4", "ruby3.3",
    "ruby3.4", "ruby2.5", "python3.6", "python2.7",
)
# fmt: on

_CHOICES_AT = {
    ("PublishLayerVersion", "compatibleRuntimes"): RUNTIMES_CURRENT,
    ("ListLayers", "compatibleRuntime"): RUNTIMES_EVER,
    ("ListLayerVersions", "compatibleRuntime"): RUNTIMES_EVER,
}

_PLAIN_LIST_CHOICES = frozenset({"CompatibleRuntimes"})

_MEMBER_MAY_BE_NULL = frozenset({"SubnetIds", "SecurityGroupIds"})

_LEFT_TO_THE_OPERATION = frozenset(
    {
        # Answered as InvalidParameterValueException with a text of its own, and deprecated runtimes have yet another.
        ("CreateFunction", "runtime"),
        ("UpdateFunctionConfiguration", "runtime"),
    }
)

_MAXIMUM_LEFT_TO_THE_OPERATION = frozenset({"Timeout"})

_MEMBERS_FIRST = {"PublishLayerVersionRequest": ("CompatibleRuntimes", "CompatibleArchitectures")}

_NOTHING = RecordedTexts()
_OF = {
    "lambda": RecordedTexts(
        patterns=_PATTERNS,
        choices=_CHOICES,
        choices_at=_CHOICES_AT,
        plain_list_choices=_PLAIN_LIST_CHOICES,
        member_may_be_null=_MEMBER_MAY_BE_NULL,
        left_to_the_operation=_LEFT_TO_THE_OPERATION,
        maximum_left_to_the_operation=_MAXIMUM_LEFT_TO_THE_OPERATION,
        members_first=_MEMBERS_FIRST,
    )
}


def texts_of(service: str) -> RecordedTexts:
    return _OF.get(service, _NOTHING)
