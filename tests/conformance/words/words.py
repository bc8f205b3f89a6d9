"""What made-up requests of a service speak of; each service has a file of it beside this one, and catalogue.py lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.made_up import Vocabulary
from tests.conformance.services.service import ACCOUNT, REGION
from tests.conformance.wire import Wire

ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
NOWHERE = "http://127.0.0.1:1/x"
"""Nothing listens there: what is subscribed or connected to may be tried."""
ODD = ["a\x00b", "\ud800", "\ufffe", "é😀", ""]
"""What a database, an encoder or an XML document may not be able to keep."""
DEEP = ["[" * 5_000, '{"a":' * 600]
POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}
)
POLICIES = [
    POLICY, "", "{", "[]", "5", '{"Statement": 5}', '{"Statement": [5]}', '{"Statement": [null]}', '{"Statement": {}}',
    '{"Statement": {"Effect": "Allow"}}', '{"Statement": [{"Sid": "\\u0000"}]}', *DEEP, *ODD,
]  # fmt: skip
REDRIVES = ['{"deadLetterTargetArn": "x", "maxReceiveCount": 3}', '{"deadLetterTargetArn": 5}', "{}", "[]", "x", ""]
PATTERNS = [
    '{"source": ["a"]}', '{"a": [{"numeric": [">", 1]}]}', '{"a": [{"numeric": [">", 1e999]}]}', "{", "[]", "5", '{"a": []}',
    '{"a": [{"wildcard": "**"}]}', '{"a": [{"wildcard": "' + "*a" * 1_000 + '"}]}', '{"a": [{"prefix": "\\ud800"}]}',
    '{"a": [' + "9" * 5_000 + "]}", *DEEP, *ODD,
]  # fmt: skip
PAGES = ["gone", "", "e30=", "bnVsbA==", "IiI=", "ImEi", "MQ==", "!", "ImFcdTAwMDAi", "WyJhIiwiYiJd", "WyJhXHUwMDAwIiwiYiJd"]
"""Where a list is said to go on: JSON of the wrong kinds, in base64, and none."""


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


@dataclass(frozen=True)
class Made:
    """A call that makes what others speak of. takes: by path in its answer, the text that stands for it in other requests."""

    operation: str
    request: Mapping[str, Any]
    takes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Every:
    """Requests to an operation with every combination of some members' values."""

    operation: str
    members: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Words:
    """first: what the others speak of, made again before each test. unasked: operations that need more than a control plane."""

    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    first: Sequence[Made] = ()
    every: Sequence[Every] = ()
    unasked: frozenset[str] = frozenset()

    def make(self, wire: Wire) -> dict[str, str]:
        """Makes what is gone; real names by what stands for them."""
        names: dict[str, str] = {}
        for made in self.first:
            answer = wire.call(made.operation, _named(made.request, names))
            assert answer.status < 500, (made, answer.status, answer.raw)
            for path, stand_in in made.takes.items():
                if (found := _at(answer.body, path)) is not None:
                    names[stand_in] = found
        return names


def _named(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _named(item, names) for key, item in value.items()}
    return names.get(value, value) if isinstance(value, str) else value


def _at(body: Any, path: str) -> str | None:
    for part in path.split("."):
        if isinstance(body, list) and part.isdigit() and int(part) < len(body):
            body = body[int(part)]
        elif isinstance(body, dict):
            body = body.get(part)
        else:
            return None
    return body if isinstance(body, str) else None
