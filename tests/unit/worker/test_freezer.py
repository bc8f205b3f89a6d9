"""What was not used since the freezer looked last is frozen when it looks again, and nothing else; what stays frozen rests."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from services.worker import freezer as freezer_module
from services.worker.environment.environment import Environment
from services.worker.environment.machine import State
from services.worker.freezer import STEP_MAX, Freezer
from tests.support import PATIENCE_S


class Watched:
    def __init__(self, name: str) -> None:
        self.id = name
        self.state = State.IDLE
        self.busy = False
        self.used = True
        self.frozen_at = 0.0
        self.rests = 0

    def freeze(self) -> None:
        self.state = State.FROZEN
        self.frozen_at = asyncio.get_running_loop().time()

    def rest(self) -> None:
        self.rests += 1


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


async def test_what_stays_frozen_rests_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezer_module, "REST_AFTER_S", 0.0)
    freezer = Freezer()
    environments = watching(freezer, 3)
    for _ in range(2):
        freezer._step()
    for rested in (1, 2, 3):
        freezer._rest_one()
        assert [each.rests for each in environments] == [1] * rested + [0] * (3 - rested)
    freezer._rest_one()
    assert freezer._rest_timer is None, "nobody is left to rest"
    freezer.close()


async def test_what_was_thawed_does_not_rest_until_it_was_frozen_for_long_enough() -> None:
    freezer = Freezer()
    [environment] = watching(freezer)
    for _ in range(2):
        freezer._step()
    freezer._rest_one()
    assert environment.rests == 0, "it was frozen just now"
    freezer.watch(cast("Environment", environment))
    environment.state = State.IDLE
    environment.frozen_at = 0.0
    freezer._rest_one()
    assert environment.rests == 0
    freezer.close()


async def test_what_is_gone_costs_those_that_rest_after_it_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezer_module, "REST_AFTER_S", 0.0)
    freezer = Freezer()
    *gone, last = watching(freezer, STEP_MAX)
    for _ in range(2):
        freezer._step()
    for each in gone:
        each.state = State.GONE
    freezer._rest_one()
    assert ([each.rests for each in gone], last.rests) == ([0] * len(gone), 1)
    assert not freezer._tired, "none of them is held"
    freezer.close()


async def test_what_is_about_to_go_does_not_rest_before_and_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezer_module, "REST_AFTER_S", 0.0)
    freezer = Freezer()
    [environment] = watching(freezer)
    for _ in range(2):
        freezer._step()
    replacement = Watched(environment.id)
    freezer.forget(cast("Environment", replacement))
    assert environment.id in freezer._tired, "another one of that name is not it"
    freezer.forget(cast("Environment", environment))
    freezer._rest_one()
    assert (environment.rests, freezer._tired) == (0, {})
    freezer.close()


class Unfit(Watched):
    def freeze(self) -> None:
        raise RuntimeError("this one cannot be frozen")

    def rest(self) -> None:
        raise RuntimeError("nor rest")


async def test_one_that_cannot_be_frozen_does_not_keep_the_others_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freezer_module, "INTERVAL_S", 0.001)
    unseen = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(str(context["exception"])))
    freezer = Freezer()
    unfit = Unfit("e-unfit")
    freezer.watch(cast("Environment", unfit))
    environments = watching(freezer, 2)
    async with asyncio.timeout(PATIENCE_S):
        while not all(each.state is State.FROZEN for each in environments):  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.001)
    assert unseen == ["this one cannot be frozen"]
    freezer.close()


async def test_one_that_cannot_rest_does_not_keep_the_others_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INTERVAL_S", "REST_AFTER_S", "REST_PAUSE_S"):
        monkeypatch.setattr(freezer_module, name, 0.001)
    unseen = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(str(context["exception"])))
    freezer = Freezer()
    unfit = Unfit("e-unfit")
    unfit.state = State.FROZEN
    freezer._tired[unfit.id] = cast("Environment", unfit)
    [environment] = watching(freezer)
    async with asyncio.timeout(PATIENCE_S):
        while not environment.rests:  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.001)
    assert unseen == ["nor rest"]
    freezer.close()


async def test_it_rests_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INTERVAL_S", "REST_AFTER_S", "REST_PAUSE_S"):
        monkeypatch.setattr(freezer_module, name, 0.001)
    freezer = Freezer()
    environments = watching(freezer, 2)
    async with asyncio.timeout(PATIENCE_S):
        while not all(each.rests for each in environments):  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.001)
    assert [each.rests for each in environments] == [1, 1]
    freezer.close()
