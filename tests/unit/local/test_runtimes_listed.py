"""`lambdad runtimes` leaves nothing out that a function can be created with."""

from __future__ import annotations

import pytest

from deploy.local import messages, runtimes
from services.worker.runtimes.catalogue import Catalogue
from services.worker.runtimes.nodejs.family import SDK
from shared.domain.runtimes import INSTALLABLE, RUNTIMES_OFFERED


def test_every_runtime_that_can_be_created_is_listed_once_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalogue, "installed", lambda _: ["python3.13", "provided.al2"])
    lines = messages.runtimes(*runtimes.survey()).splitlines()
    told = {name: text.strip() for name, _, text in (line.partition(" ") for line in lines)}
    assert set(told) - {SDK} == set(RUNTIMES_OFFERED)
    assert len(lines) == len(told)
    assert told["python3.13"] == told["provided.al2"] == "runs here"
    assert all(told[name].endswith(f"runtimes install {name}") for name in INSTALLABLE if name != "python3.13")
    assert "`node` of version 16" in told["nodejs16.x"]
    assert all("provided runtime" in told[name] for name in ("dotnet8", "java8.al2"))
