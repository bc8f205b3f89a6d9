"""Resource policies as whole JSON documents: what one must look like to be attached to a function."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from shared.domain.policy_conditions import MalformedPolicyError, matches
from shared.domain.policy_evaluation import Statement, parse_statement

VERSION = "2012-10-17"
VERSIONS = (VERSION, "2008-10-17")
DEFAULT_ID = "default"
POLICY_BYTES_MAX = 20_480
STATEMENTS_MAX = 500
_SID = re.compile(r"[a-zA-Z0-9_-]{0,100}")
_ACTION = re.compile(r"(?:\*|lambda:[a-zA-Z*?]+)", re.IGNORECASE)
_DOCUMENT_KEYS = frozenset({"Version", "Id", "Statement"})

RawStatement = dict[str, Any]
"""A statement's JSON, in the order in which it was written: it is given back so."""


class PolicyDocument(msgspec.Struct, frozen=True):
    """version, policy_id: None where the author left them out. statements: never empty."""

    version: str | None
    policy_id: str | None
    statements: tuple[RawStatement, ...]

    def render(self) -> str:
        """The document as AWS gives it back: compact."""
        head = {"Version": self.version, "Id": self.policy_id}
        document = {key: value for key, value in head.items() if value is not None}
        return json.dumps({**document, "Statement": self.statements}, separators=(",", ":"))

    def parsed(self) -> tuple[Statement, ...]:
        """Raises MalformedPolicyError."""
        return tuple(parse_statement(statement) for statement in self.statements)


def parse_document(text: str, resource: str) -> PolicyDocument:
    """A policy to be attached to `resource`, an ARN. Raises MalformedPolicyError."""
    document = _decode(text)
    unknown = sorted(document.keys() - _DOCUMENT_KEYS)
    if unknown:
        raise MalformedPolicyError(f"a policy has no element {unknown[0]}")
    version, policy_id = document.get("Version"), document.get("Id")
    if version is not None and version not in VERSIONS:
        raise MalformedPolicyError(f"Version must be {' or '.join(VERSIONS)}")
    if policy_id is not None and not isinstance(policy_id, str):
        raise MalformedPolicyError("Id must be a text")
    statements = document.get("Statement")
    listed = [statements] if isinstance(statements, dict) else statements
    if not isinstance(listed, list) or not listed:
        raise MalformedPolicyError("a policy must have a Statement")
    if len(listed) > STATEMENTS_MAX:
        raise MalformedPolicyError(f"a policy may have at most {STATEMENTS_MAX} statements")
    for statement in listed:
        _check(parse_statement(statement), resource)
    _check_sids(listed)
    return PolicyDocument(version, policy_id, tuple(listed))


def _decode(text: str) -> dict[str, Any]:
    try:
        # msgspec refuses what json.loads lets through: NaN, lone surrogates, nesting without end.
        document = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedPolicyError("the policy is not JSON") from error
    if not isinstance(document, dict):
        raise MalformedPolicyError("a policy must be an object")
    return document


def _check(statement: Statement, resource: str) -> None:
    for action in statement.actions.values:
        if _ACTION.fullmatch(action) is None:
            raise MalformedPolicyError(f"{action} is not an action on a function")
    for pattern in statement.resources.values:
        if not (matches(pattern, resource) or pattern.startswith(f"{resource}:")):
            raise MalformedPolicyError(f"the policy of {resource} cannot speak of {pattern}")


def _check_sids(statements: Sequence[RawStatement]) -> None:
    seen = set[str]()
    for statement in statements:
        sid = statement.get("Sid")
        if sid is None:
            continue
        if not isinstance(sid, str) or _SID.fullmatch(sid) is None:
            raise MalformedPolicyError("Sid may hold letters, digits, - and _")
        if sid and sid in seen:
            raise MalformedPolicyError(f"two statements have the Sid {sid}")
        seen.add(sid)
