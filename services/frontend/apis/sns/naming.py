"""What clients name by ARN: topics, subscriptions, mobile applications and endpoints."""

from __future__ import annotations

import re
from typing import NamedTuple

from services.frontend.apis.sns.errors import AuthorizationErrorException, InvalidParameterException, invalid
from services.frontend.endpoint.api import Call
from shared.domain.arns import Home
from shared.domain.topics import FIFO_SUFFIX, is_topic_name

_PARTS = 6
_ID = re.compile(r"[0-9a-fA-F-]{36}")
_SUBSCRIPTION_PARTS = 7


class NamedTopic(NamedTuple):
    home: Home
    name: str


class NamedSubscription(NamedTuple):
    home: Home
    topic_name: str
    id: str


def topic_of(call: Call, arn: str, parameter: str = "TopicArn", action: str = "") -> NamedTopic:
    """A topic where the request is. action: as in `SNS:Publish`, for the refusal of another account's.

    Raises InvalidParameterException, AuthorizationErrorException.
    """
    home, name = parts_of(arn, parameter)
    if home.region != call.home.region or not is_topic_name(name, fifo=name.endswith(FIFO_SUFFIX)):
        raise invalid(parameter)
    require_own(call, home, arn, action)
    return NamedTopic(home, name)


def require_own(call: Call, home: Home, arn: str, action: str) -> None:
    if home.account_id != call.home.account_id:
        who = call.caller.arn or "anonymous"
        raise AuthorizationErrorException(
            f"User: {who} is not authorized to perform: {action or 'this action'} on resource: {arn} "
            f"because no resource-based policy allows the {action or 'action'} action"
        )


def parts_of(arn: str, parameter: str) -> tuple[Home, str]:
    """(where, what) of an ARN of SNS. Raises InvalidParameterException."""
    parts = arn.split(":", _PARTS - 1)
    if len(parts) < _PARTS:
        raise invalid(parameter, f"An ARN must have at least {_PARTS} elements, not {len(parts)}")
    scheme, _, service, region, account_id, rest = parts
    if scheme != "arn" or service != "sns":
        raise invalid(parameter)
    return Home(account_id, region), rest


def subscription_of(call: Call, arn: str, parameter: str = "SubscriptionArn") -> NamedSubscription:
    """Raises InvalidParameterException."""
    home, rest = parts_of(arn, parameter)
    topic_name, colon, identity = rest.partition(":")
    if not colon or _ID.fullmatch(identity) is None:
        raise InvalidParameterException("Invalid parameter: SubscriptionId")
    # A link that was mailed or posted is not signed for any region: its own says where it leads.
    if call.caller.access_key_id is not None and home.region != call.home.region:
        raise invalid(parameter)
    if home.account_id != call.home.account_id:
        raise invalid(parameter)
    return NamedSubscription(home, topic_name, identity.lower())
