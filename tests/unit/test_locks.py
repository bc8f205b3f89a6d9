"""What is installed is pinned by version and hash, and no lock file says where it came from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from deploy.local.lock import without_addresses

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
PACKAGE_LOCKS = sorted(path for folder in ("requirements", "tests") for path in (ROOT / folder).glob("**/package-lock.json"))
LOCKS = [*REQUIREMENTS, ROOT / "deploy/local/kafka.lock", *PACKAGE_LOCKS]


def test_there_are_lock_files() -> None:
    assert {"runtime.txt", "local.txt", "dev.txt"} <= {path.name for path in REQUIREMENTS}
    assert {"nodejs-sdk", "javascript", "serverless-offline"} <= {path.parent.name for path in PACKAGE_LOCKS}
    assert "@aws-sdk/client-s3" in json.loads((ROOT / "requirements/nodejs-sdk/package.json").read_text())["dependencies"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_lock_file_records_no_address(lock: Path) -> None:
    assert not re.search(r"://|--(index|extra-index|find-links|trusted-host)|@ file", lock.read_text())


@pytest.mark.parametrize("lock", PACKAGE_LOCKS, ids=lambda path: path.parent.name)
def test_every_package_of_npm_is_pinned_by_hash(lock: Path) -> None:
    packages = json.loads(lock.read_text())["packages"]
    fetched = {name: package for name, package in packages.items() if name}
    assert fetched
    for name, package in fetched.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name


def test_what_npm_says_of_who_pays_is_left_out_of_a_lock_file() -> None:
    paid = {"version": "1.0.0", "integrity": "sha512-a", "funding": [{"type": "github", "url": "https://sponsors.example/a"}]}
    written = without_addresses(json.dumps({"lockfileVersion": 3, "packages": {"": {}, "node_modules/a": paid}}))
    assert json.loads(written) == {
        "lockfileVersion": 3,
        "packages": {"": {}, "node_modules/a": {"version": "1.0.0", "integrity": "sha512-a"}},
    }


@pytest.mark.parametrize("lock", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_hashed(lock: Path) -> None:
    text = lock.read_text().replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert pins
    for pin in pins:
        assert re.match(r"[\w.\[\],-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", pin), pin[:80]
