"""docs/chaos.md, from the results of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tests.chaos.disturbances import catalogue

TARGET = Path(__file__).resolve().parents[2] / "docs" / "chaos.md"
HEAD = """# Chaos

Made by `make chaos` ({when}, {machine}); do not edit. A whole cluster (the embedded one: real processes, real engines) under a load
whose every accepted event is followed to its end, while one thing after the other is done to it. All of it happens in a network
namespace of its own. Nobody helps: what is broken is left to come back by itself.

The load: synchronous calls; events whose success is told to a queue; events that fail, are tried again and end in a queue of failures;
events of a function with reserved concurrency, which tells when it ran; Kafka records, by an event source mapping, whose function tells
a witness of every batch before it ends. Accepted is what was answered with 202, or what Kafka acknowledged.

- **lost**: accepted, and no end was told within {deadline_s} s after the load (I1). **duplicates**: ends that were told once more, which
  at-least-once delivery allows.
- **recovery**: from the end of what was done until something of each kind that was accepted from then on has come to its end; of failing
  events that takes a retry's wait of 1 s in any case.
- **wrong**: more attempts than allowed or fewer (I6), more at once than is reserved (I4), a partition's records out of order or one left
  out (I5), an answer that is another call's (I2). What a worker leaves on its host (I8) is counted by `make faults`.

| what was done | accepted | lost | duplicates | wrong | recovery |
|---|---|---|---|---|---|
"""


class Result(msgspec.Struct, frozen=True):
    """name: of the disturbance. skipped: why it was not done; then nothing else says anything. kinds: of traffic, with accepted,
    lost, duplicates. recovery_s: None where it did not come back."""

    name: str
    what: str
    skipped: str | None = None
    kinds: dict[str, tuple[int, int, int]] = {}
    wrong: tuple[str, ...] = ()
    recovery_s: float | None = None

    @property
    def totals(self) -> tuple[int, int, int]:
        accepted, lost, duplicates = (sum(each) for each in zip(*self.kinds.values(), strict=True)) if self.kinds else (0, 0, 0)
        return accepted, lost, duplicates

    @property
    def good(self) -> bool:
        return self.skipped is not None or (self.totals[1] == 0 and not self.wrong and self.recovery_s is not None)


def render(results: Sequence[Result], *, when: str, machine: str, deadline_s: float) -> str:
    done = {result.name: result for result in results}
    ordered = [done[each.name] for each in catalogue() if each.name in done]
    return "".join([HEAD.format(when=when, machine=machine, deadline_s=int(deadline_s)), *rows(ordered), *told(ordered)])


def rows(results: Iterable[Result]) -> Iterable[str]:
    results = list(results)
    for result in results:
        if result.skipped is not None:
            yield f"| {result.name}: {result.what} | not done: {result.skipped} | | | | |\n"
            continue
        accepted, lost, duplicates = result.totals
        recovery = "never" if result.recovery_s is None else f"{result.recovery_s:.1f} s"
        yield f"| **{result.name}**: {result.what} | {accepted:,} | {lost} | {duplicates} | {len(result.wrong)} | {recovery} |\n"
    all_of = [sum(each) for each in zip(*(result.totals for result in results), strict=True)]
    yield f"| all | {all_of[0]:,} | {all_of[1]} | {all_of[2]} | {sum(len(each.wrong) for each in results)} | |\n"


def told(results: Iterable[Result]) -> Iterable[str]:
    bad = [result for result in results if not result.good]
    if bad:
        yield "\n## What is not as it should be\n\n"
    for result in bad:
        lost = ", ".join(f"{lost} {kind}" for kind, (_, lost, _) in result.kinds.items() if lost)
        yield f"- {result.name}: " + "; ".join([*([f"lost {lost}"] if lost else []), *result.wrong[:3]]) + "\n"
