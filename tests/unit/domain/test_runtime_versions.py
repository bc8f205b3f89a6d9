from __future__ import annotations

import pytest

from shared.domain.runtime_versions import runtime_version


@pytest.mark.parametrize(
    ("runtime", "named"),
    [
        ("nodejs20.x", "nodejs:20.v1"),
        ("provided.al2023", "provided:al2023.v1"),
        ("java21", "java:21.v1"),
        ("provided", "provided.v1"),
    ],
)
def test_the_runtime_version_is_language_and_number(runtime: str, named: str) -> None:
    assert runtime_version(runtime) == named
