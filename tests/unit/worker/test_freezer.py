"""What was not used since the freezer looked last is frozen when it looks again, and nothing else."""

from __future__ import annotations

from typing import cast

from services.worker.environment.environment import Environment
from services.worker.environment.machine import State
from services.worker.freezer import STEP_MAX, Freezer


class Watched:
    def __init__(self, name: str) -> None:
        self.id = name
        self.state = State.IDLE
        self.busy = False
        self.used = True

    def freeze(self) -> None:
        self.state = State.FROZEN


def watching(freezer: Freezer, count: int = 1) -> list[Watched]:
    watched = [Watched(f"e-{number}") for number in range(count)]
    for each in watched:
        freezer.watch(cast("Environment", each))
    return watched


async def test_what_is_used_between_two_looks_is_not_frozen_and_then_it_is() -> None:
    freezer = Freezer()
    [environment] = watching(freezer)
    for _ in range(3):
        environment.used = True
        freezer._step()
        assert environment.state is State.IDLE
    freezer._step()
    assert environment.state is State.FROZEN
    freezer.close()


async def test_what_runs_is_not_frozen_however_long_it_takes() -> None:
    freezer = Freezer()
    [environment] = watching(freezer)
    environment.busy, environment.used = True, False
    for _ in range(3):
        freezer._step()
    assert environment.state is State.IDLE
    environment.busy = False
    freezer._step()
    assert environment.state is State.FROZEN
    freezer.close()


async def test_so_many_are_frozen_in_one_go_and_the_others_in_the_next() -> None:
    freezer = Freezer()
    environments = watching(freezer, STEP_MAX + 3)
    for expected in (0, STEP_MAX, STEP_MAX + 3):
        freezer._step()
        assert sum(each.state is State.FROZEN for each in environments) == expected
    assert freezer._timer is None, "nothing is left to look at"
    freezer.close()
