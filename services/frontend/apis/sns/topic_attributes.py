"""The attributes of a topic: which there are, what each may be, and in which form it is kept.

Source: SetTopicAttributes in the SNS API reference; texts were recorded where they were seen.
"""

from __future__ import annotations

import json
import re
from typing import Any

from services.frontend.apis.sns.errors import InvalidParameterException, invalid
from shared.domain.arns import home_of
from shared.domain.delivery_policies import DeliveryPolicyError, read_topic_policy
from shared.domain.policy_conditions import MalformedPolicyError
from shared.domain.policy_evaluation import parse_statement
from shared.domain.topics import Topic

DISPLAY_NAME_CHARACTERS_MAX = 100
POLICY_BYTES_MAX = 30_720
DATA_PROTECTION_VERSION = "2021-06-01"
ACTIONS = (
    "AddPermission", "DeleteTopic", "GetDataProtectionPolicy", "GetTopicAttributes", "ListSubscriptionsByTopic",
    "ListTagsForResource", "Publish", "PutDataProtectionPolicy", "Receive", "RemovePermission", "SetTopicAttributes",
    "Subscribe",
)  # fmt: skip
"""What a topic's policy may speak of."""
DEFAULTS = {"DisplayName": "", "ContentBasedDeduplication": "false", "FifoTopic": "false", "FifoThroughputScope": "Topic"}
"""What an attribute is that was never set: to ask for just that is to ask for nothing."""
_DEFAULT_ACTIONS = (
    "SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission", "SNS:DeleteTopic",
    "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish",
)  # fmt: skip
_FEEDBACK = re.compile(
    r"(Application|Firehose|HTTP|Lambda|SQS)(SuccessFeedbackRoleArn|FailureFeedbackRoleArn|SuccessFeedbackSampleRate)"
)
_FIFO_ONLY = frozenset({"ContentBasedDeduplication", "FifoThroughputScope"})
_CHOICES = {
    "SignatureVersion": ("1", "2"),
    "TracingConfig": ("PassThrough", "Active"),
    "FifoThroughputScope": ("Topic", "MessageGroup"),
}
_PLAIN = frozenset({"KmsMasterKeyId", "DataProtectionPolicy"})
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S{1,512}")


def default_policy(arn: str) -> str:
    """The policy of a topic that was given none: its account may do everything."""
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": list(_DEFAULT_ACTIONS),
        "Resource": arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": home_of(arn).account_id}},
    }
    document = {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}
    return json.dumps(document, separators=(",", ":"))


def of_creation(given: dict[str, str], *, fifo: bool) -> dict[str, str]:
    """What is kept of the attributes that a topic is made with. Raises InvalidParameterException."""
    kept = {"FifoTopic": "true", "ContentBasedDeduplication": "false"} if fifo else {}
    for name, value in given.items():
        if name == "FifoTopic":
            continue
        if not _is_known(name) or (name in _FIFO_ONLY and not fifo):
            raise invalid("Attributes", f"Unknown attribute {name}")
        try:
            kept[name] = _kept(name, value)
        except InvalidParameterException as error:
            text = error.message.removeprefix("Invalid parameter: ")
            raise invalid("Attributes", text) from None
    return kept


def changed(topic: Topic, name: str, value: str) -> dict[str, str]:
    """A topic's attributes with one of them set; an empty value takes some of them away. Raises InvalidParameterException."""
    if not _is_known(name) or (name in _FIFO_ONLY and not topic.fifo):
        raise invalid("AttributeName")
    attributes = {key: kept for key, kept in topic.attributes.items() if key != name}
    if value == "" and (name in ("DeliveryPolicy", "DisplayName", *_PLAIN) or _FEEDBACK.fullmatch(name)):
        return attributes
    return {**attributes, name: _kept(name, value)}


def _is_known(name: str) -> bool:
    return (
        name in ("DisplayName", "Policy", "DeliveryPolicy", "ArchivePolicy", *_CHOICES, *_FIFO_ONLY, *_PLAIN)
        or _FEEDBACK.fullmatch(name) is not None
    )


def _kept(name: str, value: str) -> str:
    if name == "DisplayName":
        if len(value) > DISPLAY_NAME_CHARACTERS_MAX or not value.isprintable():
            raise InvalidParameterException("Invalid parameter: DisplayName")
    elif name == "Policy":
        return _policy(value)
    elif name == "DeliveryPolicy":
        try:
            return json.dumps(read_topic_policy(value), separators=(",", ":"))
        except DeliveryPolicyError as error:
            raise InvalidParameterException(f"Invalid parameter: DeliveryPolicy: {error}") from None
    elif name == "ContentBasedDeduplication":
        if value.lower() not in ("true", "false"):
            raise InvalidParameterException(
                f"Invalid parameter: ContentBasedDeduplication: Invalid value [{value}]. Must be true or false."
            )
        return value.lower()
    elif name == "DataProtectionPolicy":
        _check_data_protection(value)
    elif name == "ArchivePolicy":
        raise InvalidParameterException("Invalid parameter: ArchivePolicy: messages are not archived here")
    elif name in _CHOICES:
        if value not in _CHOICES[name]:
            raise InvalidParameterException(
                f"Invalid parameter: {name}: Invalid value [{value}]. Must be {' or '.join(_CHOICES[name])}."
            )
    elif name.endswith("RoleArn"):
        if _ROLE.fullmatch(value) is None:
            raise InvalidParameterException(f"Invalid parameter: {name}: Invalid value [{value}].")
    elif name.endswith("SampleRate") and not (value.isascii() and value.isdigit() and int(value[:4]) <= 100):
        raise InvalidParameterException(f"Invalid parameter: {name}: Invalid value [{value}]. Must be between 0 and 100.")
    return value


def _check_data_protection(text: str) -> None:
    """As far as its outer form goes: nothing is done with it here."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise invalid("DataProtectionPolicy", "The policy is not a JSON object")
    if document.get("Version") != DATA_PROTECTION_VERSION or not isinstance(document.get("Name"), str):
        raise invalid("DataProtectionPolicy", f"The policy needs a Name and the Version {DATA_PROTECTION_VERSION}")
    statements = document.get("Statement")
    if not isinstance(statements, list) or not statements or not all(isinstance(one, dict) for one in statements):
        raise invalid("DataProtectionPolicy", "The policy needs a Statement")


def _policy(text: str) -> str:
    """A policy as it was written, once it was understood."""
    if len(text.encode()) > POLICY_BYTES_MAX:
        raise InvalidParameterException("Invalid parameter: Policy Error: the policy is too large")
    for statement in statements_of(text):
        try:
            actions = parse_statement(statement).actions.values
        except MalformedPolicyError:
            raise InvalidParameterException("Invalid parameter: Policy Error: null") from None
        if not all(_is_action(action) for action in actions):
            raise InvalidParameterException("Invalid parameter: Policy statement action out of service scope!")
    return text


def statements_of(text: str) -> list[dict[str, Any]]:
    """Of a policy's text. Raises InvalidParameterException."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidParameterException("Invalid parameter: Policy Error: null") from None
    found = document.get("Statement") if isinstance(document, dict) else None
    listed = [found] if isinstance(found, dict) else found
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise InvalidParameterException("Invalid parameter: Policy Error: null")
    return listed


def _is_action(text: str) -> bool:
    if text == "*":
        return True
    service, _, name = text.partition(":")
    if service.lower() != "sns":
        return False
    return "*" in name or "?" in name or name.lower() in {action.lower() for action in ACTIONS}
