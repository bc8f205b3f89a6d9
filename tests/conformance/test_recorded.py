"""What AWS was seen to answer: every recorded behaviour, over HTTP. What differs is in <name>_differs.yaml, each with its reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.covered import covered
from tests.conformance.facts import Fact, differing, load
from tests.conformance.runner import Runner
from tests.conformance.services.catalogue import CATALOGUE
from tests.conformance.services.service import Service

CALLS = [
    pytest.param(service, fact, id=f"{service.name}:{fact.id}")
    for service in CATALOGUE
    for fact in load(service.name)
    if fact.call is not None
]
SERVICES = pytest.mark.parametrize("service", CATALOGUE, ids=lambda service: service.name)


@pytest.mark.parametrize(("service", "fact"), CALLS)
def test_the_answer_is_awss(runner: Callable[[Service], Runner], service: Service, fact: Fact) -> None:
    found = runner(service).differences(fact)
    if fact.id in differing(service.name):
        assert found, f"{fact.id} is exact now: take it out of {service.name}_differs.yaml and run `make docs`"
    else:
        assert not found, "\n".join(found)


@SERVICES
def test_every_behaviour_that_is_not_one_call_has_its_test_or_differs(service: Service) -> None:
    behaviours = {fact.id for fact in load(service.name) if fact.call is None}
    shown, differ = set(covered(service.name)), set(differing(service.name))
    assert behaviours - differ == shown & behaviours
    assert not shown & differ, "these are exact now, or have tests that show it is not so"


@SERVICES
def test_what_is_told_of_entries_is_told_of_ones_that_exist(service: Service) -> None:
    assert set(differing(service.name)) | set(covered(service.name)) <= {fact.id for fact in load(service.name)}
