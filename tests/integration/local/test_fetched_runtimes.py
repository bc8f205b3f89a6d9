"""`lambdad runtimes install` fetches what the refusal of a runtime names it for."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import fetched_java, fetched_runtimes
from deploy.local.bootstrap import NPM_FILES, digest_of, stamp
from services.worker.runtimes.catalogue import Catalogue
from services.worker.runtimes.nodejs.family import SDK
from services.worker.runtimes.nodejs.interpreters import find_nodes
from shared.domain.errors import ConfigurationError
from shared.settings import WorkerSettings

SDK_BYTES_MAX = 60 * 1024**2
NODE_BYTES_MAX = 200 * 1024**2
NAME_OF_A_CLIENT = 'console.log(require("@aws-sdk/client-dynamodb").DynamoDBClient.name)'


@pytest.fixture
def runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fetched_runtimes, "RUNTIMES", tmp_path)
    return tmp_path


@pytest.fixture
def closed_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def test_a_node_and_the_sdk_are_installed_within_bounds_and_found_by_workers(
    runtimes: Path, closed_umask: None, capfd: pytest.CaptureFixture[str]
) -> None:
    fetched_runtimes.install(["nodejs22.x"])
    node = find_nodes(runtimes)["nodejs22.x"]
    assert node.is_relative_to(runtimes)
    assert Catalogue(WorkerSettings(runtime_dir=runtimes)).supports("nodejs22.x")
    asked = [str(node), "-e", f"console.log(process.version); {NAME_OF_A_CLIENT}"]
    libraries = {"NODE_PATH": str(runtimes / SDK / "node_modules")}
    said = subprocess.run(asked, env=libraries, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert (said[0].partition(".")[0], said[1]) == ("v22", "DynamoDBClient")
    assert size_bytes(runtimes / SDK) < SDK_BYTES_MAX
    assert size_bytes(runtimes / "nodejs22.x") < NODE_BYTES_MAX
    assert not list(runtimes.glob(".*"))
    closed = [path for path in runtimes.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o444 != 0o444]
    assert not closed, "a function, whose user is nobody's, reads what it runs under"
    capfd.readouterr()
    fetched_runtimes.install(["nodejs22.x"])
    assert capfd.readouterr().out.splitlines() == ["nodejs22.x is installed", f"{SDK} is installed"]


@pytest.mark.needs("npm")
def test_a_node_that_pypi_has_no_wheel_of_comes_from_the_npm_registry(runtimes: Path) -> None:
    (runtimes / SDK).mkdir()
    files = [fetched_runtimes.REQUIREMENTS / SDK / name for name in NPM_FILES]
    stamp(runtimes / SDK, "sdk", digest_of(files))
    fetched_runtimes.install(["nodejs26.x"])
    node = find_nodes(runtimes)["nodejs26.x"]
    assert node.is_relative_to(runtimes)
    assert subprocess.run([str(node), "--version"], capture_output=True, text=True, check=True).stdout.startswith("v26.")
    assert Catalogue(WorkerSettings(runtime_dir=runtimes)).supports("nodejs26.x")
    assert size_bytes(runtimes / "nodejs26.x") < NODE_BYTES_MAX


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nodejs16.x", "nodejs16.x cannot be installed. Put a `node` of version 16 on the PATH of a worker"),
        ("dotnet8", "dotnet8 cannot be installed. No worker can be given it: choose a provided runtime"),
        ("provided.al2023", "provided.al2023 needs no installation"),
        ("python3.7", "python3.7 cannot be installed: AWS lets no function be created with it any more"),
        ("node24", "there is no runtime node24; `lambdad runtimes` lists"),
    ],
)
def test_what_cannot_be_installed_is_refused_with_what_to_do_instead(runtimes: Path, name: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{re.escape(told)}"):
        fetched_runtimes.install(["nodejs22.x", name])
    assert not list(runtimes.iterdir())


def test_an_installation_that_fails_leaves_nothing_behind_and_says_so(runtimes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched_runtimes, "UV", Path("/bin/false"))
    with pytest.raises(ConfigurationError, match="failed with status 1"):
        fetched_runtimes.install(["nodejs24.x"])
    assert not list(runtimes.iterdir())


APT = """#!/bin/sh
# Knows ruby3.4 once it has looked for what is new.
folder=$(dirname "$0")
case "$(basename "$0") $*" in
    "apt-cache policy ruby3.4") [ -e "$folder/updated" ] && echo "  Candidate: 3.4.7-1" || echo "  Candidate: (none)";;
    "apt-get update"*) touch "$folder/updated";;
    "apt-get install"*ruby3.4)
        printf '#!/bin/sh\\necho ruby3.4\\n' > "$folder/ruby3.4" && chmod 755 "$folder/ruby3.4" && echo "$*" > "$folder/installed";;
esac
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first on PATH whose apt knows one Ruby."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in ("apt-get", "apt-cache"):
        (folder / name).write_text(APT)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages of the system")
def test_a_ruby_is_the_systems_package_of_that_version(runtimes: Path, packages: Path) -> None:
    fetched_runtimes.install(["ruby3.4"])
    assert (packages / "installed").read_text().endswith("--no-install-recommends ruby3.4\n")
    (packages / "installed").unlink()
    fetched_runtimes.install(["ruby3.4"])
    assert not (packages / "installed").exists()


def test_a_ruby_that_the_system_has_no_package_of_is_said_with_what_helps(runtimes: Path, packages: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"ruby3\.2 cannot be fetched here \(found: .*\): .* Install Ruby 3\.2 with a version"
    ):
        fetched_runtimes.install(["ruby3.2"])


def test_a_java_that_cannot_be_fetched_is_said_with_what_helps(runtimes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched_java, "RUNTIMES", runtimes)
    monkeypatch.setattr(fetched_java, "find_virtual_machines", lambda installed: {})
    for program, reason in (("/bin/false", "failed with status 1"), ("/bin/true", "does not run on this machine")):
        monkeypatch.setattr(fetched_java, "UV", Path(program))
        with pytest.raises(ConfigurationError) as refused:
            fetched_runtimes.install(["java11"])
        text = str(refused.value)
        assert text.startswith("java11 cannot be fetched here (found: none): ")
        assert reason in text
        for remedy in ("openjdk-11-jre-headless", "/usr/lib/jvm", "JAVA_HOME", "`lambdad runtimes install java11` again"):
            assert remedy in text
        assert not list(runtimes.iterdir())
