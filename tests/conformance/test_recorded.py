"""What AWS was seen to answer: every recorded behaviour, over HTTP. What differs is in differs.yaml, each with its reason."""

from __future__ import annotations

import pytest

from tests.conformance.facts import Fact, differing, load
from tests.conformance.runner import Runner


@pytest.mark.parametrize("fact", load(), ids=lambda fact: fact.id)
def test_the_answer_is_awss(runner: Runner, fact: Fact) -> None:
    found = runner.differences(fact)
    if fact.id in differing():
        assert found, f"{fact.id} is exact now: take it out of differs.yaml and run `make docs`"
    else:
        assert not found, "\n".join(found)


def test_what_differs_is_recorded() -> None:
    assert set(differing()) <= {fact.id for fact in load()}
