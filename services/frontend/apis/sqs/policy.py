"""Queue policies: what one must look like, and AddPermission and RemovePermission as changes of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from services.frontend.apis.sqs import urls
from services.frontend.apis.sqs.errors import InvalidAttributeValue, MissingRequiredParameterException, OverLimit, bad_value
from shared.aws.protocols.protocol import Params
from shared.domain.arns import PARTITION, Home
from shared.domain.errors import InvalidParameterValueException
from shared.domain.policy_conditions import MalformedPolicyError
from shared.domain.policy_documents import VERSIONS
from shared.domain.policy_evaluation import parse_statement

STATEMENTS_MAX = 20
ACTIONS_MAX = 7
PERMISSION_VERSION = "2008-10-17"
_SHARED = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)
_OWNERS = frozenset(
    {
        "AddPermission",
        "CancelMessageMoveTask",
        "CreateQueue",
        "DeleteQueue",
        "ListMessageMoveTasks",
        "ListQueueTags",
        "ListQueues",
        "RemovePermission",
        "SetQueueAttributes",
        "StartMessageMoveTask",
        "TagQueue",
        "UntagQueue",
    }
)
"""What a permission cannot give away."""


def decode(text: str) -> Any:
    """JSON; None for what is none."""
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def checked(text: str) -> str:
    """A Policy attribute as it is kept, empty for none. Raises InvalidAttributeValue, OverLimit."""
    if not text:
        return ""
    document = decode(text)
    if not isinstance(document, dict) or not document.keys() <= {"Version", "Id", "Statement"}:
        raise InvalidAttributeValue.of("Policy")
    if document.get("Version", VERSIONS[0]) not in VERSIONS or not isinstance(document.get("Id", ""), str):
        raise InvalidAttributeValue.of("Policy")
    statements = _statements(document)
    if not statements:
        raise InvalidAttributeValue.of("Policy")
    _check_count(statements)
    try:
        for statement in statements:
            parse_statement(statement)
    except MalformedPolicyError as error:
        raise InvalidAttributeValue.of("Policy") from error
    return text


def with_permission(text: str | None, home: Home, queue: str, params: Params) -> str:
    """The policy with AddPermission's statement. Raises InvalidParameterValueException, MissingRequiredParameterException,
    OverLimit."""
    label, accounts, actions = params["Label"], params["AWSAccountIds"], params["Actions"]
    _check_permission(label, accounts, actions)
    arn = urls.arn_of(home, queue)
    document = decode(text) if text else None
    if document is None:
        document = {"Version": PERMISSION_VERSION, "Id": f"{arn}/SQSDefaultPolicy", "Statement": []}
    statements = _statements(document)
    if any(statement.get("Sid") == label for statement in statements):
        raise bad_value(label, "Label", "Already exists.")
    statements.append(
        {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": _one_or_all([f"arn:{PARTITION}:iam::{account}:root" for account in accounts])},
            "Action": _one_or_all([f"SQS:{action}" for action in actions]),
            "Resource": arn,
        }
    )
    _check_count(statements)
    return _render({**document, "Statement": statements})


def without_permission(text: str | None, label: str) -> str:
    """The policy without the statement of that label, empty when it was the only one. Raises InvalidParameterValueException."""
    document = decode(text) if text else {}
    statements = _statements(document)
    left = [statement for statement in statements if statement.get("Sid") != label]
    if len(left) == len(statements):
        raise bad_value(label, "Label", "can't find label on existing policy.")
    return _render({**document, "Statement": left}) if left else ""


def _check_permission(label: str, accounts: list[Any], actions: list[Any]) -> None:
    if not label or not all(character.isascii() and (character.isalnum() or character in "-_") for character in label):
        raise bad_value(label, "Label", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
    if len(label) > 80:
        raise bad_value(label, "Label", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
    if not actions:
        raise MissingRequiredParameterException("Actions")
    if not accounts:
        raise _unknown(accounts)
    if len(actions) > ACTIONS_MAX:
        raise OverLimit(f"{len(actions)} Actions were found, maximum allowed is {ACTIONS_MAX}.")
    for action in actions:
        if action in _OWNERS:
            raise bad_value(f"SQS:{action}", "ActionName", "Only the queue owner is allowed to invoke this action.")
        if action not in _SHARED:
            raise bad_value(f"SQS:{action}", "ActionName", "Please refer to the appropriate WSDL for a list of valid actions. ")
    for account in accounts:
        if not (isinstance(account, str) and len(account) == 12 and account.isascii() and account.isdigit()):
            raise _unknown(accounts)


def _unknown(accounts: list[Any]) -> InvalidParameterValueException:
    """A list as Java shows it."""
    return bad_value(f"[{', '.join(map(str, accounts))}]", "PrincipalId", "Unable to verify.")


def _check_count(statements: list[dict[str, Any]]) -> None:
    if len(statements) > STATEMENTS_MAX:
        raise OverLimit(f"{len(statements)} statements were found in the submitted policy, max allowed is {STATEMENTS_MAX}")


def _statements(document: dict[str, Any]) -> list[Any]:
    found = document.get("Statement", [])
    return list(found) if isinstance(found, list) else [found]


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _render(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
