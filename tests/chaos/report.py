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

Everything of the load runs during everything that is done, each by a sender of its own:

| traffic | accepted | its end |
|---|---|---|
| synchronous calls | an answer | the same |
| events; events that fail and are tried again; events of a function with reserved concurrency | 202 | a record in the queue of its destination |
| events with destinations: a function, an event bus, a topic, `kafka://` | 202 | the record there: told by that function, by the bus's rule, by the topic's queue, on the Kafka topic |
| Kafka records, by an event source mapping | the offset, with acks=all | its function told a witness of the batch, before it ended |
| messages of a queue, every fifth delayed, every tenth never deleted by who receives it | a message id | received and deleted; in the dead-letter queue |
| messages of a FIFO queue, tried again with their deduplication id until they are accepted | a message id | received and deleted |
| messages of a topic (SNS) | a message id | three: in a queue, run by a function, posted to an address |
| events of a bus (EventBridge) | an event id | three: in a queue, run by a function, in the dead-letter queue of a target that does not exist |
| one-time schedules, due while things are done | 200 | in a queue, or run by a function |

- **lost**: accepted, and no end was told within {deadline_s} s after the load (I1). **duplicates**: ends that were told once more, which
  at-least-once delivery allows.
- **recovery**: from the end of what was done until something of each kind that was accepted from then on has come to its end; of failing
  events that takes a retry's wait of 1 s in any case.
- **wrong**: more attempts than allowed or fewer (I6), more at once than is reserved (I4), records of a partition or messages of a group out
  of order or one left out (I5), an answer that is another call's (I2), a deduplicated message that is two, a schedule that fired twice into a
  queue, an event that a rule does not match, an event whose end the ledger does not tell. What workers leave on their host (I8) is
  counted where all is done in one run, and by `make faults` after a thousand faults of another kind.

| what was done | accepted | lost | duplicates | wrong | recovery |
|---|---|---|---|---|---|
"""

LEFT = "all of the load removed"
"""The last row: what workers have left on their host."""
LIMITS = """
## What cannot be kept

- **Queued messages are as safe as Redis's append-only file.** `kill -9`, a restart, a full disk, a cut link lose none. A Redis that is
  wiped, that comes back without its append-only file, or that keeps none has lost the messages that were in its queues: those alone,
  one by one as counted above; what a receiver had deleted or not been sent yet is not touched, and nothing else is lost with it, for
  leases are rebuilt, queues are known again from Postgres, and what waits for delivery waits in Kafka. What comes with it: receipt
  handles of messages in flight end, FIFO queues no longer know what was sent in the last five minutes, deliveries that come twice are two.
  [operations.md](operations.md) says what each fsync policy is worth.
- **Redis's disk full, and Redis killed before there is room.** A full disk alone loses nothing: writes are refused from the one on that did
  not fit, which is kept in memory and written when there is room. That one, which was answered as Redis learns of it only then, is lost
  if Redis is killed meanwhile; with `appendfsync always` it is not answered ([integration/queues/test_full_disk.py](../tests/integration/queues/test_full_disk.py)).
- **Kafka's or Postgres's disk lost** is not among what is done: what must not be lost is there, and nowhere else. Both are killed,
  stopped, cut off and filled above. Three brokers (`LAMBDAD_EVENTS__REPLICATION_FACTOR=3`, then `min.insync.replicas=2`) and a standby of
  Postgres keep it where one disk may be lost.
- **Synchronous calls** that run when a frontend or a worker dies are not run again: their callers are told that the outcome is
  unknown (I2), and they are not counted as accepted.
"""


class Result(msgspec.Struct, frozen=True):
    """name: of the disturbance. skipped: why it was not done; then nothing else says anything. kinds: of traffic, with accepted,
    lost, duplicates. recovery_s: None where it did not come back. wiped: messages that were in queues when Redis was wiped."""

    name: str
    what: str
    skipped: str | None = None
    kinds: dict[str, tuple[int, int, int]] = {}
    wrong: tuple[str, ...] = ()
    recovery_s: float | None = None
    wiped: int = 0

    @property
    def totals(self) -> tuple[int, int, int]:
        accepted, lost, duplicates = (sum(each) for each in zip(*self.kinds.values(), strict=True)) if self.kinds else (0, 0, 0)
        return accepted, lost, duplicates

    @property
    def good(self) -> bool:
        return self.skipped is not None or (self.totals[1] == 0 and not self.wrong and self.recovery_s is not None)


def render(results: Sequence[Result], *, when: str, machine: str, deadline_s: float) -> str:
    done = {result.name: result for result in results}
    ordered = [done[name] for name in (*(each.name for each in catalogue()), LEFT) if name in done]
    return "".join(
        [
            HEAD.format(when=when, machine=machine, deadline_s=int(deadline_s)),
            *rows(ordered),
            *by_kind(ordered),
            *told(ordered),
            LIMITS,
        ]
    )


def rows(results: Iterable[Result]) -> Iterable[str]:
    results = list(results)
    for result in results:
        if result.skipped is not None:
            yield f"| {result.name}: {result.what} | not done: {result.skipped} | | | | |\n"
            continue
        if result.name == LEFT:
            yield f"| **{result.name}**: {result.what} | | | | {len(result.wrong)} | |\n"
            continue
        accepted, lost, duplicates = result.totals
        recovery = "never" if result.recovery_s is None else f"{result.recovery_s:.1f} s"
        gone = f"; {result.wiped} messages that were in queues went with it" if result.wiped else ""
        what = f"**{result.name}**: {result.what}{gone}"
        yield f"| {what} | {accepted:,} | {lost} | {duplicates} | {len(result.wrong)} | {recovery} |\n"
    all_of = [sum(each) for each in zip(*(result.totals for result in results), strict=True)]
    yield f"| all | {all_of[0]:,} | {all_of[1]} | {all_of[2]} | {sum(len(each.wrong) for each in results)} | |\n"


def by_kind(results: Iterable[Result]) -> Iterable[str]:
    """Over all that was done."""
    sums: dict[str, list[int]] = {}
    for result in results:
        for kind, counts in result.kinds.items():
            sums[kind] = [sum(each) for each in zip(sums.get(kind, [0, 0, 0]), counts, strict=True)]
    yield "\n| traffic | accepted | lost | duplicates |\n|---|---|---|---|\n"
    for kind, (accepted, lost, duplicates) in sums.items():
        yield f"| {kind} | {accepted:,} | {lost} | {duplicates} |\n"


def told(results: Iterable[Result]) -> Iterable[str]:
    bad = [result for result in results if not result.good]
    if bad:
        yield "\n## What is not as it should be\n\n"
    for result in bad:
        lost = ", ".join(f"{lost} {kind}" for kind, (_, lost, _) in result.kinds.items() if lost)
        yield f"- {result.name}: " + "; ".join([*([f"lost {lost}"] if lost else []), *result.wrong[:3]]) + "\n"
