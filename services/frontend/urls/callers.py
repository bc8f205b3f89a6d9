"""Who calls a function URL, and whether the resource policy lets them.

Source: AWS's page on access control of function URLs. Both actions are asked for: InvokeFunctionUrl, and InvokeFunction with
the condition key that says it comes through a URL.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.domain.arns import PARTITION, function_arn
from shared.domain.policy_conditions import Context
from shared.domain.policy_evaluation import ANONYMOUS, AccessRequest, Decision, Principal, account_root, decide
from shared.registry.function_urls import ServedUrl

ACTIONS = ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")
HEADER_VALUE_CHARACTERS_MAX = 2_048
"""Of a header's value as a condition's: what is compared with a pattern comes from anybody."""


class Caller(msgspec.Struct, frozen=True):
    """access_key_id: None for a request that nobody signed. user_id: as in `aws:userid`."""

    principal: Principal
    access_key_id: str | None = None
    arn: str = ""
    user_id: str = ""

    @property
    def account_id(self) -> str:
        """As events show it: AWS writes `anonymous` where nobody signed."""
        return self.principal.account_id or "anonymous"

    def authorizer(self) -> dict[str, Any]:
        """requestContext.authorizer of the event."""
        return {
            "iam": {
                "accessKey": self.access_key_id,
                "accountId": self.account_id,
                "callerId": self.user_id,
                "cognitoIdentity": None,
                "principalOrgId": None,
                "userArn": self.arn,
                "userId": self.user_id,
            }
        }


NOBODY = Caller(ANONYMOUS)


def root_caller(account_id: str, access_key_id: str | None) -> Caller:
    principal = account_root(account_id)
    return Caller(principal, access_key_id, principal.arns[0], account_id)


def session_caller(account_id: str, access_key_id: str, session_arn: str) -> Caller:
    """Somebody with temporary credentials: session_arn is `arn:aws:sts::<account>:assumed-role/<role>/<session>`."""
    role, _, session = session_arn.partition(":assumed-role/")[2].partition("/")
    role_arn = f"arn:{PARTITION}:iam::{account_id}:role/{role}"
    # Role ids are made up by IAM; this one is the role's for ever, too.
    role_id = "AROA" + base64.b32encode(hashlib.sha256(role_arn.encode()).digest()).decode()[:17]
    return Caller(Principal(account_id, (session_arn, role_arn)), access_key_id, session_arn, f"{role_id}:{session}")


class Circumstances(msgspec.Struct, frozen=True):
    """What conditions may ask about besides the caller. user_agent, referer: empty for none."""

    source_ip: str
    user_agent: str
    referer: str
    region: str
    now_s: float


def may_invoke(served: ServedUrl, caller: Caller, circumstances: Circumstances, *, owner: str) -> bool:
    """owner: the account that the function is in. Its own principals need no policy, but one that denies them counts."""
    region = circumstances.region
    resource = function_arn(region, owner, served.function_name, served.qualifier)
    context = _context(served, caller, circumstances)
    own = caller.principal.account_id == owner
    for action in ACTIONS:
        decision = decide(served.statements, AccessRequest(caller.principal, action, resource, context))
        if decision is not Decision.ALLOWED and not (own and decision is Decision.NOT_MENTIONED):
            return False
    return True


def _context(served: ServedUrl, caller: Caller, circumstances: Circumstances) -> Context:
    now = datetime.fromtimestamp(circumstances.now_s, UTC)
    context = {
        "lambda:functionurlauthtype": (served.url.auth_type,),
        "lambda:invokedviafunctionurl": ("true",),
        "aws:securetransport": ("false",),
        "aws:sourceip": (circumstances.source_ip,),
        "aws:requestedregion": (circumstances.region,),
        "aws:currenttime": (f"{now:%Y-%m-%dT%H:%M:%SZ}",),
        "aws:epochtime": (str(int(circumstances.now_s)),),
        "aws:viaawsservice": ("false",),
        "aws:principalisawsservice": ("false",),
        "aws:principaltype": (_principal_type(caller),),
    }
    for key, text in (("aws:useragent", circumstances.user_agent), ("aws:referer", circumstances.referer)):
        if text:
            context[key] = (text[:HEADER_VALUE_CHARACTERS_MAX],)
    if caller.principal.account_id is not None:
        context["aws:principalaccount"] = (caller.principal.account_id,)
        # Of a role session, the ARN is the role's.
        context["aws:principalarn"] = (caller.principal.arns[-1],)
        context["aws:userid"] = (caller.user_id,)
    return context


def _principal_type(caller: Caller) -> str:
    if caller.principal.account_id is None:
        return "Anonymous"
    return "AssumedRole" if len(caller.principal.arns) > 1 else "Account"
