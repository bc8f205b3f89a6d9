"""Set-up makes runtime clients for the very interpreters that workers find."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.bootstrap import function_interpreters
from deploy.local.layout import CHECKOUT
from services.worker.runtimes.python.interpreters import find_interpreters


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize(
    "place", [".pyenv/versions/3.14.2/bin", ".local/share/uv/python/cpython-3.14.2-linux-x86_64-gnu/bin", "../bin"]
)
def test_an_interpreter_gets_its_client_wherever_workers_find_it(place: str, home: Path) -> None:
    python = program(home / place / "python3.14")
    assert find_interpreters()["python3.14"] == function_interpreters()["python3.14"] == python.resolve()


def test_a_version_managers_shim_is_no_interpreter_but_leads_to_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = home.parent / "pyenv"
    shim = program(elsewhere / "shims" / "python3.14")
    monkeypatch.setenv("PATH", str(elsewhere / "shims"))
    assert find_interpreters().get("python3.14") != shim
    python = program(elsewhere / "versions" / "3.14.10" / "bin" / "python3.14")
    program(elsewhere / "versions" / "3.14.9" / "bin" / "python3.14")
    assert find_interpreters()["python3.14"] == python


def test_set_up_needs_nothing_that_is_not_in_the_standard_library() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import deploy.local.bootstrap"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, str(CHECKOUT)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
