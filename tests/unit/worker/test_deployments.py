"""What is deployed is got ready for once no more is on its way, late deployments included, and in its order."""

from __future__ import annotations

import asyncio

import pytest

from services.worker import deployments as module
from services.worker.deployments import Deployments
from shared.dispatch.cell.deployment import Deployment
from tests.support import PATIENCE_S


def deployment(name: str) -> Deployment:
    return Deployment("python3.12", "x86_64", 128, name, 1, (), workers=1)


class Ready:
    def __init__(self, expected: int) -> None:
        self.names: list[str] = []
        self._expected = expected
        self._all = asyncio.Event()

    def __call__(self, each: Deployment) -> None:
        self.names.append(each.code_sha256)
        if len(self.names) == self._expected:
            self._all.set()

    async def wait(self) -> list[str]:
        async with asyncio.timeout(PATIENCE_S):
            await self._all.wait()
        return self.names


@pytest.mark.parametrize(("kept_max", "told"), [(3, ["a", "b", "c"]), (2, ["b", "c"])], ids=["all", "the oldest is forgotten"])
async def test_it_waits_until_no_more_are_coming(monkeypatch: pytest.MonkeyPatch, kept_max: int, told: list[str]) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.01)
    monkeypatch.setattr(module, "KEPT_MAX", kept_max)
    ready = Ready(len(told))
    deployments = Deployments(ready)
    for name in ("a", "b", "c"):
        deployments.add(deployment(name))
        assert ready.names == []
    assert await ready.wait() == told
    deployments.close()


async def test_those_that_keep_coming_do_not_put_it_off_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 3600.0)
    monkeypatch.setattr(module, "LATE_S", 0.01)
    ready = Ready(2)
    deployments = Deployments(ready)
    deployments.add(deployment("a"))
    deployments.add(deployment("b"))
    assert await ready.wait() == ["a", "b"]
    deployments.close()


async def test_one_that_fails_is_not_the_others_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.01)
    unseen = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(str(context["exception"])))
    ready = Ready(2)

    def get_ready(each: Deployment) -> None:
        if each.code_sha256 == "bad":
            raise RuntimeError("nobody foresaw this")
        ready(each)

    deployments = Deployments(get_ready)
    for name in ("a", "bad", "b"):
        deployments.add(deployment(name))
    assert await ready.wait() == ["a", "b"]
    assert unseen == ["nobody foresaw this"]
    deployments.close()


async def test_many_at_once_let_everything_else_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.0)
    told: list[int] = []
    ready = Ready(3)

    def get_ready(each: Deployment) -> None:
        asyncio.get_running_loop().call_soon(lambda: told.append(len(ready.names)))
        ready(each)

    deployments = Deployments(get_ready)
    for name in ("a", "b", "c"):
        deployments.add(deployment(name))
    await ready.wait()
    assert told[0] < 3, "what came in with the first was done before the last was told"
    deployments.close()


async def test_what_is_announced_while_they_are_told_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.01)
    ready = Ready(4)

    def get_ready(each: Deployment) -> None:
        if each.code_sha256 == "a":
            deployments.add(deployment("d"))
        ready(each)

    deployments = Deployments(get_ready)
    for name in ("a", "b", "c"):
        deployments.add(deployment(name))
    assert await ready.wait() == ["a", "b", "c", "d"]
    deployments.close()


async def test_once_closed_it_tells_nobody_of_what_it_has_or_of_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.0)
    ready = Ready(1)
    deployments = Deployments(ready)
    deployments.add(deployment("a"))
    deployments.close()
    deployments.add(deployment("b"))
    assert deployments._timer is None
    for _ in range(3):
        await asyncio.sleep(0)
    assert ready.names == []
