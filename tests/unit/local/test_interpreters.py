"""Set-up makes runtime clients for the very interpreters that workers find; each is what it says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import bootstrap
from deploy.local.bootstrap import function_interpreters
from deploy.local.layout import CHECKOUT
from services.worker.runtimes.host import own_interpreter
from services.worker.runtimes.nodejs.interpreters import WHEEL, find_nodes
from services.worker.runtimes.python.interpreters import find_interpreters
from services.worker.runtimes.ruby.interpreters import find_rubies


def program(path: Path, says: str = "python3.14") -> Path:
    """A program that says which version it is, whatever it is asked."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bootstrap, "RUNTIMES", tmp_path / "runtimes")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    for name in ("NVM_DIR", "RBENV_ROOT", "ASDF_DATA_DIR", "MISE_DATA_DIR", "rvm_path"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize(
    "place", [".pyenv/versions/3.14.2/bin", ".local/share/uv/python/cpython-3.14.2-linux-x86_64-gnu/bin", "../bin"]
)
def test_an_interpreter_gets_its_client_wherever_workers_find_it(place: str, home: Path) -> None:
    python = program(home / place / "python3.14")
    assert find_interpreters()["python3.14"] == function_interpreters()["python3.14"] == python.resolve()


def test_the_python_that_the_services_run_on_serves_its_own_version(home: Path) -> None:
    own = f"python3.{sys.version_info.minor}"
    program(home / f".pyenv/versions/3.{sys.version_info.minor}.99/bin" / own, says=own)
    found = find_interpreters()[own]
    assert found == function_interpreters()[own] == own_interpreter()


def test_a_version_managers_shim_is_no_interpreter_but_leads_to_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = home.parent / "pyenv"
    shim = program(elsewhere / "shims" / "python3.14")
    monkeypatch.setenv("PATH", str(elsewhere / "shims"))
    assert find_interpreters().get("python3.14") != shim
    python = program(elsewhere / "versions" / "3.14.10" / "bin" / "python3.14")
    program(elsewhere / "versions" / "3.14.9" / "bin" / "python3.14")
    assert find_interpreters()["python3.14"] == python


def test_an_interpreter_is_of_the_version_that_it_says_and_not_of_its_files_name(home: Path) -> None:
    program(home / ".pyenv/versions/3.14.2/bin/python3.14", says="python3.11")
    assert "python3.14" not in find_interpreters()
    right = program(home / "../bin/python3.14")
    assert find_interpreters()["python3.14"] == right.resolve()


def test_a_node_serves_the_runtime_of_its_own_version_and_no_other(home: Path) -> None:
    on_path = program(home / "../bin/node", says="v20.11.1").resolve()
    assert find_nodes(home) == {"nodejs20.x": on_path}
    newest = program(home / ".nvm/versions/node/v22.10.0/bin/node", says="v22.10.0")
    program(home / ".nvm/versions/node/v22.9.0/bin/node", says="v22.9.0")
    program(home / ".nvm/versions/node/v23.1.0/bin/node", says="v23.1.0")
    fetched = program(home / "nodejs20.x" / WHEEL, says="v20.18.0")
    assert find_nodes(home) == {"nodejs20.x": fetched, "nodejs22.x": newest}


def test_a_node_that_cannot_say_its_version_serves_nothing(home: Path) -> None:
    program(home / "../bin/node", says="v22.10.0; exit 1")
    assert find_nodes(home) == {}


def test_set_up_needs_nothing_that_is_not_in_the_standard_library() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import deploy.local.bootstrap"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, str(CHECKOUT)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("place", [".rbenv/versions/3.4.7", ".asdf/installs/ruby/3.4.7", ".rvm/rubies/ruby-3.4.7"])
def test_a_version_managers_newest_ruby_of_a_version_serves_it(place: str, home: Path) -> None:
    newest = program(home / place / "bin/ruby", says="ruby3.4")
    program(home / place.replace("3.4.7", "3.4.1") / "bin/ruby", says="ruby3.4")
    program(home / "../bin/ruby", says="ruby3.4")
    assert find_rubies()["ruby3.4"] == newest


def test_a_ruby_is_of_the_version_that_it_says_and_a_shim_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = program(home / ".rbenv/shims/ruby", says="ruby4.0")
    monkeypatch.setenv("PATH", f"{shim.parent}:{home.parent / 'bin'}")
    assert "ruby4.0" not in find_rubies()
    on_path = program(home / "../bin/ruby3.3", says="ruby3.2").resolve()
    found = find_rubies()
    assert found["ruby3.2"] == on_path
    assert "ruby3.3" not in found
    assert list(found) == sorted(found)
