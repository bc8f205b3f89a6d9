"""What is installed is pinned by version and hash, and no lock file says where it came from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
LOCKS = [*REQUIREMENTS, ROOT / "deploy/local/kafka.lock"]


def test_there_are_lock_files() -> None:
    assert {"runtime.txt", "local.txt", "dev.txt"} <= {path.name for path in REQUIREMENTS}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_records_no_address(lock: Path) -> None:
    assert not re.search(r"://|--(index|extra-index|find-links|trusted-host)|@ file", lock.read_text())


def test_the_javascript_sdk_is_pinned_by_hash_and_records_no_address_of_packages() -> None:
    packages = json.loads((ROOT / "requirements/nodejs-sdk/package-lock.json").read_text())["packages"]
    fetched = {name: package for name, package in packages.items() if name}
    assert "node_modules/@aws-sdk/client-s3" in fetched
    for name, package in fetched.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name


@pytest.mark.parametrize("lock", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_hashed(lock: Path) -> None:
    text = lock.read_text().replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert pins
    for pin in pins:
        assert re.match(r"[\w.\[\],-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", pin), pin[:80]
