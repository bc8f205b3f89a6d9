"""What a resource policy says of a request: allowed, denied, or nothing. Pure, and the only place where statements are read.

Source: the IAM user guide's policy evaluation logic. A Deny that applies wins over every Allow, wherever it stands.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from shared.domain.arns import PARTITION
from shared.domain.policy_conditions import Condition, Context, MalformedPolicyError, matches, parse_conditions

_ACCOUNT = re.compile(r"\d{12}")
_ACCOUNT_ROOT = re.compile(r"arn:[a-z0-9-]+:iam::(\d{12}):root")
_KEYS = frozenset({"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"})
_NARROWING = frozenset(
    {
        "aws:sourcearn",
        "aws:sourceaccount",
        "aws:sourceowner",
        "aws:sourceorgid",
        "aws:sourceorgpaths",
        "aws:sourceip",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:principalarn",
        "aws:principalaccount",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:userid",
        "lambda:eventsourcetoken",
    }
)
"""Condition keys that say who may come: with one of them fixed, a statement for everybody is not for the public."""
_FIXING = frozenset(
    {"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress", "BinaryEquals"}
)


class Decision(enum.Enum):
    """NOT_MENTIONED: no statement applies; whoever is asked next decides, and without anybody it is a no."""

    ALLOWED = "allowed"
    DENIED = "denied"
    NOT_MENTIONED = "not mentioned"


class Principal(msgspec.Struct, frozen=True):
    """Who asks. arns: every name that the caller goes by (a role session: its own and its role's); none when anonymous.

    service: as in `s3.amazonaws.com`, for a service that acts on its own behalf.
    """

    account_id: str | None = None
    arns: tuple[str, ...] = ()
    service: str | None = None


ANONYMOUS = Principal()


def account_root(account_id: str) -> Principal:
    return Principal(account_id, (f"arn:{PARTITION}:iam::{account_id}:root",))


def service_principal(name: str) -> Principal:
    return Principal(service=name)


class AccessRequest(msgspec.Struct, frozen=True):
    """principal wants to do action (`lambda:InvokeFunction`) to resource (an ARN). context: keys in lower case."""

    principal: Principal
    action: str
    resource: str
    context: Context


class Named(msgspec.Struct, frozen=True):
    """A Principal element. everyone: `*`. The others: exact names."""

    everyone: bool
    accounts: frozenset[str] = frozenset()
    arns: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()

    def includes(self, principal: Principal) -> bool:
        if self.everyone:
            return True
        if principal.service is not None:
            return principal.service in self.services
        return principal.account_id in self.accounts or not self.arns.isdisjoint(principal.arns)


class Patterns(msgspec.Struct, frozen=True):
    """The values of an Action or Resource element, or of its opposite."""

    values: tuple[str, ...]
    negated: bool


class Statement(msgspec.Struct, frozen=True):
    """A statement as it is evaluated; its text is kept by whoever stores the policy."""

    allow: bool
    principals: Named
    others: bool
    actions: Patterns
    resources: Patterns
    conditions: tuple[Condition, ...]

    def applies(self, request: AccessRequest) -> bool:
        # others: NotPrincipal, everybody but those named.
        return (
            self.principals.includes(request.principal) != self.others
            and self._acts(request.action)
            and self._on(request)
            and all(condition.holds(request.context) for condition in self.conditions)
        )

    def _acts(self, action: str) -> bool:
        action = action.lower()
        return any(matches(pattern.lower(), action) for pattern in self.actions.values) != self.actions.negated

    def _on(self, request: AccessRequest) -> bool:
        found = any(matches(pattern, request.resource, request.context) for pattern in self.resources.values)
        return found != self.resources.negated


def decide(statements: Iterable[Statement], request: AccessRequest) -> Decision:
    """DENIED as soon as one statement denies, whatever others allow."""
    decision = Decision.NOT_MENTIONED
    for statement in statements:
        if statement.applies(request):
            if not statement.allow:
                return Decision.DENIED
            decision = Decision.ALLOWED
    return decision


def is_public(statement: Statement) -> bool:
    """Whether a statement lets in whoever comes: everybody is allowed, and no condition says who that may be."""
    if not statement.allow or not (statement.principals.everyone or statement.others):
        return False
    return not any(
        condition.key in _NARROWING
        and condition.operator in _FIXING
        and not condition.if_exists
        and condition.quantifier != "ForAllValues:"
        and not any(value in ("*", "0.0.0.0/0", "::/0") for value in condition.values)
        for condition in statement.conditions
    )


def parse_statement(element: object) -> Statement:
    """A statement from its JSON. Raises MalformedPolicyError."""
    if not isinstance(element, dict):
        raise MalformedPolicyError("a statement must be an object")
    unknown = sorted(element.keys() - _KEYS)
    if unknown:
        raise MalformedPolicyError(f"a statement has no element {unknown[0]}")
    effect = element.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise MalformedPolicyError("Effect must be Allow or Deny")
    principal, others = _one_of(element, "Principal")
    return Statement(
        allow=effect == "Allow",
        principals=_named(principal),
        others=others,
        actions=_patterns(element, "Action"),
        resources=_patterns(element, "Resource"),
        conditions=parse_conditions(element["Condition"]) if "Condition" in element else (),
    )


def _one_of(element: dict[str, Any], name: str) -> tuple[object, bool]:
    """(value, whether it is the Not form) of an element that must be there once."""
    opposite = f"Not{name}"
    if (name in element) == (opposite in element):
        raise MalformedPolicyError(f"a statement must have one of {name} and {opposite}")
    return (element[name], False) if name in element else (element[opposite], True)


def _patterns(element: dict[str, Any], name: str) -> Patterns:
    value, negated = _one_of(element, name)
    return Patterns(_texts(value, name), negated)


def _texts(value: object, name: str) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(isinstance(one, str) and one for one in listed):
        raise MalformedPolicyError(f"{name} must be a text or a list of texts")
    return tuple(listed)


def _named(element: object) -> Named:
    if element == "*":
        return Named(everyone=True)
    if not isinstance(element, dict) or not element:
        raise MalformedPolicyError('Principal must be "*" or an object')
    accounts, arns, services, everyone = set[str](), set[str](), set[str](), False
    for kind, value in element.items():
        texts = _texts(value, f"Principal {kind}")
        if kind == "Service":
            services.update(texts)
        elif kind == "AWS":
            for text in texts:
                root = _ACCOUNT_ROOT.fullmatch(text)
                if text == "*":
                    everyone = True
                elif root is not None or _ACCOUNT.fullmatch(text):
                    accounts.add(root[1] if root is not None else text)
                elif text.startswith("arn:") and "*" not in text:
                    arns.add(text)
                else:
                    raise MalformedPolicyError(f"{text} is not a principal")
        elif kind in ("Federated", "CanonicalUser"):
            # Nobody comes with such an identity here: it is kept, and never matches.
            continue
        else:
            raise MalformedPolicyError(f"there are no principals of the kind {kind}")
    return Named(everyone, frozenset(accounts), frozenset(arns), frozenset(services))
