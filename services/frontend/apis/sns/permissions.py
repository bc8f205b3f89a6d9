"""Statements of a topic's policy, added and removed one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from services.frontend.apis.sns.context import SnsContext, found_topic
from services.frontend.apis.sns.errors import InvalidParameterException
from services.frontend.apis.sns.naming import topic_of
from services.frontend.apis.sns.topic_attributes import ACTIONS, changed, default_policy, statements_of
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.arns import PARTITION
from shared.domain.topics import Topic
from shared.registry import sns

Statements = list[dict[str, Any]]


async def add_permission(ctx: SnsContext, call: Call, params: Params) -> None:
    label, accounts, actions = params["Label"], params["AWSAccountId"], params["ActionName"]

    def added(topic: Topic, statements: Statements) -> Statements:
        if any(statement.get("Sid") == label for statement in statements):
            raise InvalidParameterException("Invalid parameter: Statement already exists")
        if not actions or not all(action in (*ACTIONS, "*") for action in actions):
            raise InvalidParameterException("Invalid parameter: Policy statement action out of service scope!")
        names = [f"SNS:{action}" for action in actions]
        principals = [_principal(account) for account in accounts]
        return [
            *statements,
            {
                "Sid": label,
                "Effect": "Allow",
                "Principal": {"AWS": principals if len(principals) != 1 else principals[0]},
                "Action": names if len(names) != 1 else names[0],
                "Resource": topic.arn,
            },
        ]

    await _change(ctx, call, params, added, "SNS:AddPermission")


def _principal(account: str) -> str:
    if not (account.isascii() and account.isdigit() and len(account) == 12):
        raise InvalidParameterException("Invalid parameter: Policy Error: PrincipalNotFound")
    return f"arn:{PARTITION}:iam::{account}:root"


async def remove_permission(ctx: SnsContext, call: Call, params: Params) -> None:
    label = params["Label"]

    def left(topic: Topic, statements: Statements) -> Statements:
        del topic
        return [statement for statement in statements if statement.get("Sid") != label]

    await _change(ctx, call, params, left, "SNS:RemovePermission")


async def _change(
    ctx: SnsContext, call: Call, params: Params, change: Callable[[Topic, Statements], Statements], action: str
) -> None:
    home, name = topic_of(call, params["TopicArn"], action=action)
    async with ctx.registry.write() as connection:
        topic = found_topic(await sns.lock(connection, home, name))
        text = topic.attributes.get("Policy") or default_policy(topic.arn)
        statements = change(topic, statements_of(text))
        if statements:
            document = {**json.loads(text), "Statement": statements}
            attributes = changed(topic, "Policy", json.dumps(document, separators=(",", ":")))
        else:
            # A policy without a statement is none; the topic has the one again that it was made with.
            attributes = {key: value for key, value in topic.attributes.items() if key != "Policy"}
        await sns.replace(connection, msgspec.structs.replace(topic, attributes=attributes))
    ctx.changed(home, name)
