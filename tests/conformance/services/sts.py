"""STS: query alone, roles belong to IAM."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from services.frontend.apis.sts.operations import sts
from tests.conformance.facts import Fact
from tests.conformance.runner import Run
from tests.conformance.services.service import ACCOUNT, Service
from tests.conformance.steps import Step
from tests.conformance.wire import Answer


class Sts(Service):
    name, title, botocore, protocols = "sts", "STS", "sts", ("query",)
    nothing = r".*"
    """What is told of roles cannot be made: its entries differ."""

    def operations(self) -> Set[str]:
        return sts(ACCOUNT).operations.keys()

    def placeholders(self, fact: Fact) -> dict[str, Any]:
        return {"access-key-id": "AKIA0123456789ABCDEF"}

    def steps_of(self, fact: Fact, sentence: str | dict[str, Any]) -> Sequence[Step]:
        if isinstance(sentence, dict) and "params" in sentence:
            service, _, operation = sentence["Operation"].rpartition(" ")
            return [Step(operation, sentence["params"], service=service or None)]
        return super().steps_of(fact, sentence)

    def found(self, run: Run, request: dict[str, Any], answer: Answer) -> Any:
        return {"Error": answer.body} if answer.failed else answer.body
