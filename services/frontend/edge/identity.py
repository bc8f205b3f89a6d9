"""Who asks: made once for a request, at the edge, from the key that signed it. Every decision about permissions starts here."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec

from shared.aws.signatures import session_tokens
from shared.domain.arns import PARTITION
from shared.domain.policy_evaluation import ANONYMOUS, Principal, account_root

CALLERS_REMEMBERED_MAX = 4_096


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
        """requestContext.authorizer of a function URL's event."""
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


class Callers:
    """account_id: the cluster's. secret: the cluster's, with which session tokens are opened."""

    def __init__(self, account_id: str, secret: bytes = b"") -> None:
        self._account_id = account_id
        self._secret = secret
        self._known: dict[tuple[str, str | None], Caller] = {}

    def of(self, access_key_id: str, token: str | None) -> Caller:
        """Whom a key belongs to that a signature was proven with; the same pair is the same caller for ever."""
        found = self._known.get((access_key_id, token))
        if found is None:
            session = None if token is None else session_tokens.find_session(self._secret, token)
            if session is None:
                found = root_caller(self._account_id, access_key_id)
            else:
                found = session_caller(self._account_id, access_key_id, session.principal)
            if len(self._known) >= CALLERS_REMEMBERED_MAX:
                self._known.clear()
            self._known[(access_key_id, token)] = found
        return found


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
