from __future__ import annotations

import json
from typing import Any

import pytest

from shared.domain.policy_conditions import MalformedPolicyError
from shared.domain.policy_documents import parse_document

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
STATEMENT = {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": ARN}


def document(*statements: dict[str, Any], **changes: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements) or [STATEMENT], **changes})


def test_a_document_is_given_back_as_it_was_written_but_compact() -> None:
    whole = {
        "Version": "2008-10-17",
        "Id": "mine",
        "Statement": [
            {"Resource": f"{ARN}:*", "Sid": "a-1", "Effect": "Deny", "NotPrincipal": {"AWS": "000000000000"}, "Action": "*"}
        ],
    }
    assert parse_document(json.dumps(whole, indent=2), ARN).render() == json.dumps(whole, separators=(",", ":"))
    assert parse_document(json.dumps({"Statement": STATEMENT}), ARN).render() == json.dumps(
        {"Statement": [STATEMENT]}, separators=(",", ":")
    )


@pytest.mark.parametrize("resource", [ARN, f"{ARN}:*", f"{ARN}*", f"{ARN}:1", "*", [ARN, f"{ARN}:live"]])
def test_a_policy_may_speak_of_its_resource(resource: Any) -> None:
    parse_document(document({**STATEMENT, "Resource": resource}), ARN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "[]",
        "[" * 5_000,
        '{"Statement": NaN}',
        document(Version="2020-01-01"),
        document(Id=5),
        document(Statement=[]),
        document(Statement="*"),
        document(Comment="why"),
        document({**STATEMENT, "Resource": "arn:aws:lambda:us-east-1:000000000000:function:g"}),
        document({**STATEMENT, "Resource": f"{ARN}g"}),
        document({**STATEMENT, "Action": "s3:GetObject"}),
        document({**STATEMENT, "Sid": "a b"}),
        document({**STATEMENT, "Sid": 1}),
        document({**STATEMENT, "Sid": "a"}, {**STATEMENT, "Sid": "a"}),
        document(*[STATEMENT] * 501),
    ],
    ids=lambda text: text[:60],
)
def test_what_is_no_policy_of_this_resource_is_refused(text: str) -> None:
    with pytest.raises(MalformedPolicyError):
        parse_document(text, ARN)
