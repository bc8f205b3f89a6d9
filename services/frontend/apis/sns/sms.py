"""What SNS remembers for text messages. None is sent from here: who publishes one is told of it by what fans out."""

from __future__ import annotations

import re

from services.frontend.apis.sns.context import Reply, SnsContext
from services.frontend.apis.sns.errors import InvalidParameterException, invalid
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.registry import sns_platforms

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_LOOSE_NUMBER = re.compile(r"\+?[0-9](?:[ /.()-]?[0-9]){1,19}")
_ATTRIBUTES = frozenset(
    {
        "DefaultSMSType", "DefaultSenderID", "DeliveryStatusIAMRole", "DeliveryStatusSuccessSamplingRate", "MonthlySpendLimit",
        "UsageReportS3Bucket",
    }
)  # fmt: skip
_TYPES = ("Promotional", "Transactional")
DEFAULTS = {"MonthlySpendLimit": "1"}


def is_phone_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


async def get_sms_attributes(ctx: SnsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.read() as connection:
        found = {**DEFAULTS, **await sns_platforms.sms_attributes(connection, call.home)}
    wanted = params.get("attributes") or tuple(found)
    return {"attributes": {name: value for name, value in found.items() if name in wanted}}


async def set_sms_attributes(ctx: SnsContext, call: Call, params: Params) -> Reply:
    given = params["attributes"]
    for name, value in given.items():
        if name not in _ATTRIBUTES:
            raise InvalidParameterException(f"{name} is not a valid attribute")
        if name == "DefaultSMSType" and value not in _TYPES:
            raise InvalidParameterException("DefaultSMSType is invalid")
    async with ctx.registry.write() as connection:
        found = await sns_platforms.sms_attributes(connection, call.home)
        await sns_platforms.set_sms_attributes(connection, call.home, {**found, **given})
    return {}


async def check_if_phone_number_is_opted_out(ctx: SnsContext, call: Call, params: Params) -> Reply:
    del ctx, call
    _require_number(params["phoneNumber"])
    return {"isOptedOut": False}


async def list_phone_numbers_opted_out(ctx: SnsContext, call: Call, params: Params) -> Reply:
    """Nobody gets text messages from here, so nobody has answered STOP to one."""
    del ctx, call, params
    return {"phoneNumbers": []}


async def opt_in_phone_number(ctx: SnsContext, call: Call, params: Params) -> Reply:
    del ctx, call
    _require_number(params["phoneNumber"])
    return {}


def _require_number(text: str) -> None:
    if _LOOSE_NUMBER.fullmatch(text) is None:
        raise invalid("PhoneNumber", "input incorrectly formatted")


async def get_sms_sandbox_account_status(ctx: SnsContext, call: Call, params: Params) -> Reply:
    del ctx, call, params
    return {"IsInSandbox": True}


async def list_no_phone_numbers(ctx: SnsContext, call: Call, params: Params) -> Reply:
    """Numbers that text messages come from, and those that a sandboxed account may send to: there are none of either."""
    del ctx, call, params
    return {"PhoneNumbers": []}
