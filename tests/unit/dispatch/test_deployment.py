from __future__ import annotations

import hashlib

import msgspec
import pytest

from shared.dispatch.cell.deployment import COPIES, Deployment, decode
from shared.domain.functions import Layer

ONE = Deployment("python3.12", "x86_64", 128, "0" * 64, 1_000, (Layer("arn", "1" * 64, 10),), 1)


def test_a_deployment_arrives_as_it_was_sent() -> None:
    assert decode(ONE.encode()) == ONE
    with pytest.raises(ValueError, match=r"Expected|JSON|malformed"):
        decode(b"nothing")


@pytest.mark.parametrize("workers", [0, 1, COPIES])
def test_every_one_of_a_few_workers_gets_ready(workers: int) -> None:
    deployment = msgspec.structs.replace(ONE, workers=workers)
    assert all(deployment.is_for(f"worker-{number}") for number in range(max(1, workers)))


def test_of_many_workers_a_few_get_ready_for_each_version() -> None:
    copies = []
    for number in range(200):
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        deployment = msgspec.structs.replace(ONE, workers=100, code_sha256=sha256)
        copies.append(sum(deployment.is_for(f"worker-{worker}") for worker in range(100)))
    assert COPIES - 1 < sum(copies) / len(copies) < COPIES + 1
