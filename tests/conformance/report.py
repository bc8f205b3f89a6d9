"""Writes docs/conformance.md, and a page a service beside it, from the recorded entries of every service, those that differ, and the service models: `make docs`.

Nothing is run for it: that the entries outside <name>_differs.yaml are met, and those in it are not, is what test_recorded.py holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from shared.aws.service_model import Kind, Operation, Shape
from tests.conformance.covered import covered
from tests.conformance.facts import RECORDED, UNRECORDED, Fact, differing, load
from tests.conformance.services.catalogue import CATALOGUE
from tests.conformance.services.service import Service

DOCS = Path(__file__).resolve().parents[2] / "docs"
DEPTH_MAX = 2
WHAT = {"kept": "kept and shown, without effect", "refused": "refused", "other": "different"}
HEAD = """# Conformance

Made by `make docs` from [what AWS was seen to do](../tests/conformance/recorded) (a file a service; in `<name>_differs.yaml` what of it
is not met, with its reason; in `<name>_fields.yaml` parameters without AWS's effect) and the service models; do not edit. That it is so
is tested: [test_recorded.py](../tests/conformance/test_recorded.py) runs every recorded call over HTTP, in every protocol that it was
recorded in, and fails both when a case that is listed as exact differs and when one that is listed as differing has become exact.
What is not one call has a test of its own that is marked with the case's name.

A case is *exact* when status, error code, error text, every key of the body and every value that is not random are AWS's. What no
case shows follows the service model: names, places, types, ranges and patterns of every parameter and reply are checked against it
at the edge, and a [property test](../tests/conformance/test_never_500.py) sends every operation valid and invalid requests.

What differs and why, and what is exact operation by operation, is on each service's page:

| service | operations of its model | answered | recorded cases | exact | differ |
|---|---|---|---|---|---|
"""
PAGE = """# Conformance: {}

Made by `make docs`, as [conformance.md](../conformance.md) tells; do not edit.

"""


def fields(service: Service) -> list[dict[str, Any]]:
    path = RECORDED / f"{service.name}_fields.yaml"
    return list(yaml.safe_load(path.read_text())) if path.exists() else []


def pages() -> dict[Path, str]:
    """Every page with its text."""
    index = {DOCS / "conformance.md": HEAD + "\n".join(row(service) for service in CATALOGUE) + "\n"}
    return index | {DOCS / "conformance" / f"{page(service)}.md": "\n".join(told(service)) for service in CATALOGUE}


def page(service: Service) -> str:
    return service.title.lower().replace(" ", "-")


def row(service: Service) -> str:
    total, differ = len(load(service.name)), len(differing(service.name))
    counts = (len(service.model.operations), len(service.operations()), total, total - differ, differ)
    return " | ".join([f"| [{service.title}](conformance/{page(service)}.md)", *map(str, counts)]) + " |"


def told(service: Service) -> Iterator[str]:
    yield PAGE.format(service.title) + "## What differs\n"
    yield from differences(service)
    shown = {entry: files for entry, files in covered(service.name).items() if service.fact(entry).call is None}
    if shown:
        yield "\n## Cases of several calls, each with its test\n"
        for entry, files in shown.items():
            yield f"- `{entry}`: " + ", ".join(f"[{file}](../../tests/{file})" for file in files)
    yield "\n## Operation by operation\n"
    cases: dict[str, list[Fact]] = defaultdict(list)
    for fact in load(service.name):
        cases[str(fact.call)].append(fact)
    for name in sorted(service.model.operations):
        yield "\n".join(operation(service, service.model.operations[name], cases[name])) + "\n"


def differences(service: Service) -> Iterator[str]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, reason in differing(service.name).items():
        reasons[reason].append(name)
    if not reasons and not fields(service):
        yield "Nothing that was recorded."
    for reason, names in reasons.items():
        yield f"- {reason} Cases: {listed(names)}."
    for entry in fields(service):
        yield f"- {listed(entry['fields'])} of {', '.join(entry['of'])}: {WHAT[entry['what']]}: {entry['why']}."


def operation(service: Service, described: Operation, facts: list[Fact]) -> Iterator[str]:
    differ = differing(service.name)
    exact = [fact for fact in facts if fact.id not in differ]
    yield f"### {described.name}"
    if described.name not in service.operations():
        yield "- not there yet: answered with 501"
    told = f"{len(facts)} recorded, {len(exact)} exact" if facts else "none recorded"
    yield f"- cases: {told}" + "".join(f"; `{fact.id}` differs" for fact in facts if fact.id in differ)
    yield from compared("parameters", described.input, [fact.request for fact in exact])
    bodies = [fact.body for fact in exact if fact.error is None and fact.body not in (None, UNRECORDED)]
    yield from compared("reply", described.output, bodies)
    errors = sorted({f"{fact.error} {fact.status}" for fact in exact if fact.error})
    if errors:
        yield f"- errors exact in recorded cases: {listed(errors)}"
    for entry in fields(service):
        if described.name in entry["of"]:
            yield f"- {listed(entry['fields'])}: {WHAT[entry['what']]}: {entry['why']}"


def compared(what: str, shape: Shape | None, seen: list[Any]) -> Iterator[str]:
    """Which fields of a structure recorded cases show, and which follow the model alone."""
    if shape is None or not shape.members:
        return
    recorded = {path for value in seen for path in paths_of(value)}
    shown, modelled = [], []
    for path in members(shape):
        (shown if path in recorded else modelled).append(path)
    # A structure that no case shows is told once.
    modelled = [path for path in modelled if path.rpartition(".")[0] not in modelled]
    if shown:
        yield f"- {what} exact in recorded cases: {listed(shown)}"
    if modelled:
        yield f"- {what} by the service model: {listed(modelled)}"


def members(shape: Shape, prefix: str = "", depth: int = 0) -> Iterator[str]:
    for name, member in shape.members.items():
        yield prefix + name
        inner = member.shape
        if inner.kind is Kind.LIST and inner.element is not None:
            inner = inner.element
        if inner.kind is Kind.STRUCTURE and depth < DEPTH_MAX - 1:
            yield from members(inner, f"{prefix}{name}.", depth + 1)


def paths_of(value: Any, prefix: str = "") -> Iterable[str]:
    if isinstance(value, list):
        for item in value:
            yield from paths_of(item, prefix)
    elif isinstance(value, dict):
        for name, item in value.items():
            if item is not None:
                yield f"{prefix}{name}"
                yield from paths_of(item, f"{prefix}{name}.")


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
