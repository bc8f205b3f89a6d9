"""The table of STS's operations."""

from __future__ import annotations

from typing import Any

from services.frontend.endpoint.api import Api, Call, Handler
from shared.aws.protocols.protocol import Params
from shared.aws.service_model import load_service_model
from shared.domain.errors import UserError


class InvalidAuthorizationMessageException(UserError):
    code = "InvalidAuthorizationMessageException"


def sts(account_id: str) -> Api:
    async def get_access_key_info(call: Call, params: Params) -> dict[str, Any]:
        """Of whatever key: it says nothing about whether the key is good."""
        del call, params
        return {"Account": account_id}

    operations: dict[str, Handler] = {
        "DecodeAuthorizationMessage": decode_authorization_message,
        "GetAccessKeyInfo": get_access_key_info,
        "GetCallerIdentity": get_caller_identity,
    }
    return Api(load_service_model("sts"), operations)


async def get_caller_identity(call: Call, params: Params) -> dict[str, Any]:
    """Needs no permission."""
    del params
    caller = call.caller
    return {"Arn": caller.arn, "UserId": caller.user_id, "Account": caller.account_id}


async def decode_authorization_message(call: Call, params: Params) -> dict[str, Any]:
    """No refusal of this cluster has an encoded message: none can be decoded."""
    del call, params
    raise InvalidAuthorizationMessageException("The message is not one that was encoded here.")
