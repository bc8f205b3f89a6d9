"""How provisioned concurrency is divided between the two versions of a weighted alias."""

from __future__ import annotations

import pytest

from shared.domain.provisioned import split


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
