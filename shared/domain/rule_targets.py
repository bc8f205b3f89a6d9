"""What a target of a rule may be: what the router delivers to. Pure."""

from __future__ import annotations

import re

from shared.domain.destinations import KAFKA_TOPIC

_ARN = re.compile(r"arn:aws[a-z-]*:([a-z0-9-]+):([a-z0-9-]*):([0-9]{12})?:(.+)", re.DOTALL)
_FORMS = {
    "sqs": re.compile(r"[a-zA-Z0-9_-]{1,75}(\.fifo)?|[a-zA-Z0-9_-]{1,80}"),
    "sns": re.compile(r"[a-zA-Z0-9_-]{1,256}"),
    "lambda": re.compile(r"function:[a-zA-Z0-9_-]{1,140}(:[a-zA-Z0-9$_-]{1,128})?"),
    "events": re.compile(r"event-bus/[/.\-_A-Za-z0-9]{1,256}"),
}


def problem(arn: str) -> str:
    """Why it can be no target; "" where it can."""
    if KAFKA_TOPIC.form.fullmatch(arn):
        return ""
    found = _ARN.fullmatch(arn)
    if found is None or not found[3]:
        return "Provided Arn is not in correct format."
    form = _FORMS.get(found[1])
    if form is None:
        named = "a queue (sqs), a topic (sns), a function (lambda), another event bus or a Kafka topic (kafka://NAME)"
        return f"Targets of {found[1]} cannot be delivered to here: name {named}."
    return "" if form.fullmatch(found[4]) else "Provided Arn is not in correct format."


def needs_group(arn: str) -> bool:
    """Whether messages to it have to belong to a group."""
    return arn.startswith("arn:") and ":sqs:" in arn and arn.endswith(".fifo")
