"""Whether the resource policy lets somebody call a function URL.

Source: AWS's page on access control of function URLs. Both actions are asked for: InvokeFunctionUrl, and InvokeFunction with
the condition key that says it comes through a URL.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from services.frontend.edge.identity import Caller
from shared.domain.arns import Home, function_arn
from shared.domain.policy_conditions import Context
from shared.domain.policy_evaluation import AccessRequest, Decision, decide
from shared.registry.function_urls import ServedUrl

ACTIONS = ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")
_HOW = {
    ACTIONS[0]: "add-permission --action lambda:InvokeFunctionUrl --function-url-auth-type ...",
    ACTIONS[1]: "add-permission --action lambda:InvokeFunction --invoked-via-function-url; older clients leave out the latter",
}
HEADER_VALUE_CHARACTERS_MAX = 2_048
"""Of a header's value as a condition's: what is compared with a pattern comes from anybody."""


class Circumstances(msgspec.Struct, frozen=True):
    """What conditions may ask about besides the caller. user_agent, referer: empty for none."""

    source_ip: str
    user_agent: str
    referer: str
    now_s: float


def refusal(served: ServedUrl, caller: Caller, circumstances: Circumstances, *, owner: str) -> str | None:
    """Why somebody may not call it, for its operator; None where they may.

    owner: the account that the function is in. Its own principals need no policy, but one that denies them counts."""
    resource = function_arn(Home(owner, served.region), served.function_name, served.qualifier)
    context = _context(served, caller, circumstances)
    own = caller.principal.account_id == owner
    for action in ACTIONS:
        decision = decide(served.statements, AccessRequest(caller.principal, action, resource, context))
        if decision is Decision.DENIED:
            return f"a statement of its policy denies {action}"
        if decision is Decision.NOT_MENTIONED and not own:
            return f"no statement of its policy allows {action}: {_HOW[action]}"
    return None


def _context(served: ServedUrl, caller: Caller, circumstances: Circumstances) -> Context:
    now = datetime.fromtimestamp(circumstances.now_s, UTC)
    context = {
        "lambda:functionurlauthtype": (served.url.auth_type,),
        "lambda:invokedviafunctionurl": ("true",),
        "aws:securetransport": ("false",),
        "aws:sourceip": (circumstances.source_ip,),
        "aws:requestedregion": (served.region,),
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
