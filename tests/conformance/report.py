"""Writes docs/conformance.md from the recorded entries, those that differ, and the service model: `make docs`.

Nothing is run for it: that the entries outside differs.yaml are met, and those in it are not, is what test_recorded.py holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from services.frontend.apis.lambda_.operations import OPERATIONS
from shared.aws.service_model import Kind, Operation, Shape, load_service_model
from tests.conformance.facts import HERE, UNRECORDED, Fact, differing, load

TARGET = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
DEPTH_MAX = 2
WHAT = {"kept": "kept and shown, without effect", "refused": "refused", "other": "different"}
WITHOUT_A_HANDLER = {"Invoke", "InvokeAsync", "InvokeWithResponseStream"}
"""Operations of the invoke path, which is not the control plane's."""
HEAD = """# Conformance

Made by `make docs` from [management.yaml](../tests/conformance/management.yaml) (what AWS was seen to answer),
[differs.yaml](../tests/conformance/differs.yaml) (what of it is not met, with its reason),
[fields.yaml](../tests/conformance/fields.yaml) (parameters without AWS's effect) and the service model; do not edit. That it is so is
tested: [test_recorded.py](../tests/conformance/test_recorded.py) runs every recorded case over HTTP and fails both when a case that
is listed as exact differs and when one that is listed as differing has become exact.

A case is *exact* when status, error code, error text, every key of the body and every value that is not random are AWS's. What no
case shows follows the service model: names, places, types, ranges and patterns of every parameter and reply are checked against it
at the edge, and a [property test](../tests/conformance/test_never_500.py) sends every operation valid and invalid requests.

"""


def fields() -> list[dict[str, Any]]:
    return list(yaml.safe_load((HERE / "fields.yaml").read_text()))


def render() -> str:
    model = load_service_model()
    cases: dict[str, list[Fact]] = defaultdict(list)
    for fact in load():
        cases[fact.call].append(fact)
    parts = [HEAD, *summary(model.operations, cases), *differences()]
    for name in sorted(model.operations):
        parts.append("\n".join(operation(model.operations[name], cases[name])) + "\n")
    return "\n".join(parts)


def summary(operations: dict[str, Operation], cases: dict[str, list[Fact]]) -> Iterator[str]:
    differ = differing()
    total = sum(len(facts) for facts in cases.values())
    served = len(OPERATIONS.keys() | WITHOUT_A_HANDLER)
    yield "| | |\n|---|---|"
    yield f"| operations of the service model | {len(operations)}, {served} of them answered |"
    yield f"| operations with recorded cases | {sum(bool(cases[name]) for name in operations)} |"
    yield f"| recorded cases | {total}: {total - len(differ)} exact, {len(differ)} differ |"
    yield ""


def differences() -> Iterator[str]:
    yield "## What differs\n"
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, reason in differing().items():
        reasons[reason].append(name)
    for reason, names in reasons.items():
        yield f"- {reason} Cases: {listed(names)}."
    for entry in fields():
        yield f"- {listed(entry['fields'])} of {', '.join(entry['of'])}: {WHAT[entry['what']]}: {entry['why']}."
    yield "\n## Operation by operation\n"


def operation(described: Operation, facts: list[Fact]) -> Iterator[str]:
    differ = differing()
    exact = [fact for fact in facts if fact.id not in differ]
    yield f"### {described.name}"
    if described.name not in OPERATIONS.keys() | WITHOUT_A_HANDLER:
        yield "- not there yet: answered with 501"
    told = f"{len(facts)} recorded, {len(exact)} exact" if facts else "none recorded"
    yield f"- cases: {told}" + "".join(f"; `{fact.id}` differs" for fact in facts if fact.id in differ)
    yield from compared("parameters", described.input, [fact.request for fact in exact])
    bodies = [fact.body for fact in exact if fact.error is None and fact.body not in (None, UNRECORDED)]
    yield from compared("reply", described.output, bodies)
    errors = sorted({f"{fact.error} {fact.status}" for fact in exact if fact.error})
    if errors:
        yield f"- errors exact in recorded cases: {listed(errors)}"
    for entry in fields():
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
    TARGET.write_text(render())
