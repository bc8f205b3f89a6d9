"""What a test needs beyond a bare machine: `@pytest.mark.needs("nodejs20.x", "npm")`. Skipped, and said, where it is not there.

A bare machine has the Python that lambdad runs on, and nothing else that functions or tools run on. LAMBDAD_TEST_MISSED names a file
to list the tests in that were skipped for this, by their ids: `pytest @FILE` runs them where there is more.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from deploy.local.layout import RUNTIMES
from services.worker.runtimes.catalogue import Catalogue
from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.runtimes.nodejs.family import SDK
from shared.domain.runtimes import RUNTIMES_OFFERED
from shared.settings import WorkerSettings

MISSED = "LAMBDAD_TEST_MISSED"
_TOOLCHAINS = {"cargo": ["cargo", "--version"], "go": ["go", "version"]}
"""What may be on PATH for the toolchain that a version manager would have, and has not."""
_BUILT_BY = {"lambda-adapter": ": cargo install lambda_web_adapter --version 0.9.1 --locked"}
"""What is in a registry as source alone, and takes minutes: no run of CI makes it."""
_RUNTIME = re.compile(r"(python3\.|nodejs|java|ruby|dotnet|provided)[\w.]*")


def skip_where_missing(item: pytest.Item) -> None:
    """Raises pytest.skip.Exception that names everything that is missing."""
    names = [name for marker in item.iter_markers("needs") for name in marker.args]
    found_missing = [reason for name in dict.fromkeys(names) if (reason := missing(name)) is not None]
    if found_missing:
        pytest.skip("; ".join(found_missing))


def list_missed(report: pytest.TestReport) -> None:
    """Of each test as it is told, to the process that tells of all of them alone."""
    if report.skipped and MISSED in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        where = report.longrepr[0] if isinstance(report.longrepr, tuple) else ""
        if Path(where).name == Path(__file__).name:
            with Path(os.environ[MISSED]).open("a") as file:
                file.write(f"{report.nodeid}\n")


def offered(family: str) -> list[str]:
    """The runtimes of a family (`ruby`) that functions may name and a worker can have, oldest first."""
    found = [name for name in RUNTIMES_OFFERED if re.fullmatch(rf"{family}\d+([.](\d+|x))?", name)]
    return sorted(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def first_here(*runtimes: str) -> str:
    """The first of them that runs here; the first of all where none does, for a test to say that it needs that one."""
    return next((name for name in runtimes if missing(name) is None), runtimes[0])


def each(*runtimes: str) -> pytest.MarkDecorator:
    """The test's `runtime` is each of these, where it is."""
    return pytest.mark.parametrize("runtime", [pytest.param(name, marks=pytest.mark.needs(name)) for name in runtimes])


@cache
def missing(name: str) -> str | None:
    """Why a runtime (`nodejs20.x`) cannot run here, or a program (`terraform`) cannot be called; None when it can."""
    if _RUNTIME.fullmatch(name):
        try:
            Catalogue(WorkerSettings(runtime_dir=RUNTIMES)).recipe(name)
        except UnsupportedRuntimeError as error:
            return str(error)
        return None
    if name == SDK:
        return None if (RUNTIMES / SDK).is_dir() else f"{SDK} is not installed: lambdad runtimes install {SDK}"
    if not shutil.which(name):
        return f"{name} is not on PATH{_BUILT_BY.get(name, '')}"
    if name in _TOOLCHAINS:
        done = subprocess.run(_TOOLCHAINS[name], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            said = done.stderr.strip() or f"status {done.returncode}"
            return f"{name} is on PATH and does not work: {said.splitlines()[0]}"
    return None
