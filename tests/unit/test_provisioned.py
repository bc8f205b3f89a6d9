"""How provisioned concurrency is divided between the two versions of a weighted alias, and how long it may initialise."""

from __future__ import annotations

import pytest

from shared.domain.provisioned import init_limit_s, split


@pytest.mark.parametrize(
    ("requested", "weight", "parts"),
    [
        (10, 0.0, (10, 0)),
        (10, 0.1, (9, 1)),
        (10, 0.25, (8, 2)),
        (10, 0.5, (5, 5)),
        (3, 0.5, (2, 1)),
        (10, 1.0, (0, 10)),
        (2, 0.01, (1, 1)),
        (2, 0.99, (1, 1)),
        (1, 0.5, (1, 0)),
        (1, 0.51, (0, 1)),
    ],
)
def test_each_version_gets_its_share(requested: int, weight: float, parts: tuple[int, int]) -> None:
    assert split(requested, weight) == parts


@pytest.mark.parametrize("requested", range(1, 40))
def test_nothing_is_lost_or_made_up(requested: int) -> None:
    for hundredths in range(101):
        first, additional = split(requested, hundredths / 100)
        assert first + additional == requested
        assert first >= 0
        assert additional >= 0


@pytest.mark.parametrize(("timeout_s", "limit_s"), [(3, 130), (130, 130), (131, 131), (900, 900), (1_800, 900)])
def test_what_is_started_ahead_may_initialise_as_long_as_it_may_run_within_awss_bounds(timeout_s: int, limit_s: int) -> None:
    assert init_limit_s(timeout_s) == limit_s
