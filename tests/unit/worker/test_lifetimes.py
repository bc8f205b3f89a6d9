"""Environments end before what they were given at their start does."""

from __future__ import annotations

from collections.abc import Sequence

from services.worker.environment.credentials import VALID_S, function_credentials
from services.worker.lifetimes import INTERVAL_S, LIFETIME_S, LIFETIME_SPREAD_S, Lifetimes, lifetime_s
from shared.domain.limits import PROVISIONED_INIT_TIMEOUT_S_MAX, TIMEOUT_S_MAX
from tests.unit.worker.specs import SPEC


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


async def test_each_ends_once_when_it_has_lived_long_enough_and_not_all_at_one_time() -> None:
    clock, ended = Clock(), list[str]()

    def end(environment_ids: Sequence[str]) -> None:
        ended.extend(environment_ids)

    lifetimes = Lifetimes(end, clock)
    names = [f"e-{number}" for number in range(100)]
    for name in [*names, "gone"]:
        lifetimes.watch(name)
    lifetimes.forget("gone")
    clock.now_s += LIFETIME_S - 1
    lifetimes.check()
    assert ended == []
    clock.now_s += LIFETIME_SPREAD_S / 2
    lifetimes.check()
    lifetimes.check()
    assert 20 < len(ended) < 80
    assert {name for name in names if lifetime_s(name) < LIFETIME_S + LIFETIME_SPREAD_S / 2 - 1} == set(ended)
    clock.now_s += LIFETIME_SPREAD_S / 2 + 1
    lifetimes.check()
    assert sorted(ended) == sorted(names)
    lifetimes.close()


def test_credentials_outlive_the_last_invocation_of_the_oldest_environment() -> None:
    oldest_s = PROVISIONED_INIT_TIMEOUT_S_MAX + LIFETIME_S + LIFETIME_SPREAD_S + INTERVAL_S + TIMEOUT_S_MAX
    assert oldest_s < VALID_S


def test_each_environment_has_credentials_of_its_own() -> None:
    one, other = (function_credentials(b"secret", SPEC) for _ in range(2))
    assert one.access_key_id != other.access_key_id
    assert one.secret_access_key != other.secret_access_key
    assert one.session_token != other.session_token
