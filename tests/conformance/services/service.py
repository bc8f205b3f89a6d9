"""What is a service's own in the reading of its recorded entries. A service's file makes one of these; everything else is common.

To add a service: copy its facts to recorded/<name>.yaml, write services/<name>.py with a subclass of `Service` (sqs.py is a small
one), and put it into catalogue.py once its API is served. From then on every entry with a call is run over HTTP in every protocol
that it holds for and has to be exact, unless recorded/<name>_differs.yaml lists it with a reason; every entry without a call has a
test of its own that says so (`@pytest.mark.covers("<name>", "<entry>")`, in any file of tests/) or is listed there, too.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import yaml

from shared.aws.service_model import ServiceModel, load_service_model
from tests.conformance.facts import Fact, load
from tests.conformance.steps import NotUnderstoodError, Step
from tests.conformance.values import Values
from tests.conformance.wire import Answer

if TYPE_CHECKING:
    from tests.conformance.runner import Run

ACCOUNT, REGION, OTHER_REGION = "000000000000", "us-east-1", "ap-southeast-1"
TOLD_CALL = re.compile(r"([A-Z]\w+) (\{.*\})", re.DOTALL)
"""A call that is told in a sentence: `CreateTopic {Name: <topic>}`."""
STATE_OF = re.compile(r"the state of ([a-z0-9.-]+)")
"""What another entry gives, without its own call."""
Sentence = Callable[[Fact, re.Match[str]], Sequence[Step]]


class Service:
    """name: of its facts. title: as people know it. botocore: its name there. protocols: in which its entries are run.

    sentences: patterns of whole sentences of `given`, to the steps that make them so. nothing: sentences that are so anyway.
    forms: how values of its placeholders look. every_time_another: those that may change within an entry.
    """

    name: str
    title: str
    botocore: str
    protocols: tuple[str, ...]
    sentences: Mapping[str, Sentence] = {}
    nothing: str | None = None
    forms: Mapping[str, str | None] = {}
    every_time_another: tuple[str, ...] = ()
    values_class: type[Values] = Values

    @property
    def model(self) -> ServiceModel:
        return load_service_model(self.botocore)

    def operations(self) -> Set[str]:
        """Those that are served, by the model's names: the keys of the table that its API is made of."""
        raise NotImplementedError

    # -- what placeholders stand for

    def placeholders(self, fact: Fact) -> dict[str, Any]:
        """What is known before anything is called, beside what all services have."""
        return {}

    def values(self, fact: Fact) -> Values:
        common = {"account": ACCOUNT, "region": REGION, "other-region": OTHER_REGION, "partition": "aws"}
        known = {**common, **self.placeholders(fact)}
        return self.values_class(known, self.forms, self.every_time_another)

    # -- what is given

    def steps(self, fact: Fact) -> Sequence[Step]:
        """Raises NotUnderstoodError."""
        return [step for sentence in fact.given for step in self.steps_of(fact, sentence)]

    def steps_of(self, fact: Fact, sentence: str | dict[str, Any]) -> Sequence[Step]:
        if isinstance(sentence, dict):
            told = dict(sentence)
            returns, header = told.pop("returns", None), told.pop("with http header", None)
            ((operation, request),) = told.items()
            headers = {} if header is None else dict([header.split(": ", 1)])
            return [Step(operation, request or {}, returns=returns if isinstance(returns, dict) else None, headers=headers)]
        for pattern, make in self.sentences.items():
            if match := re.fullmatch(pattern, sentence):
                return make(fact, match)
        if match := STATE_OF.fullmatch(sentence):
            return self.steps(self.fact(match[1]))
        if self.nothing is not None and re.fullmatch(self.nothing, sentence):
            return []
        match = TOLD_CALL.fullmatch(sentence)
        if match is not None and match[1] in self.model.operations:
            return [Step(match[1], yaml.safe_load(match[2]))]
        raise NotUnderstoodError(sentence)

    def fact(self, id: str) -> Fact:
        return next(fact for fact in load(self.name) if fact.id == id)

    def begin(self, run: Run) -> None:
        """Before the first step of an entry."""

    def perform(self, run: Run, step: Step, last: bool) -> None:
        """Make a step; last: of those that are given."""
        run.make(step)

    def end(self, run: Run) -> None:
        """After an entry, however it went."""

    # -- what is compared

    def request(self, fact: Fact) -> dict[str, Any]:
        """With placeholders; what only matters little is not recorded and may be added here."""
        return fact.request

    def error(self, answer: Answer) -> str | None:
        """An answer's error as the entries name it."""
        return answer.error

    def expected(self, fact: Fact, answer: Answer) -> Any:
        """What the body has to be, with placeholders, in the answer's protocol."""
        return fact.body

    def found(self, run: Run, request: dict[str, Any], answer: Answer) -> Any:
        """The body as entries tell it."""
        body = answer.body
        if answer.failed and isinstance(body, dict) and "__type" not in _dict(run.fact.body):
            return {name: value for name, value in body.items() if name != "__type"}
        return body

    def more(self, run: Run, request: dict[str, Any], answer: Answer) -> list[str]:
        """What else is wrong with an answer whose status, error and body are right."""
        return []

    def unordered(self, fact: Fact) -> bool:
        return "order not asserted" in fact.note.lower()


def unique(prefix: str) -> str:
    """A name that nothing has yet."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
