"""Machines whose root directory is not as usual: what cannot work there is said before anything runs, with what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.local.layout import CHECKOUT
from tests.integration.local.test_messages import EXTERNAL, command_of, refused

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes another root")

ENTER = """
root=$1; shift
for folder in usr etc proc dev sys tmp "$CHECKOUT" "$PYTHON"; do
    mkdir -p "$root/$folder"; [ "$folder" = "${WITHOUT:-}" ] || mount --rbind "/$folder" "$root/$folder"
done
for folder in bin lib lib64 sbin; do [ ! -L "/$folder" ] || ln -s "usr/$folder" "$root/$folder"; done
exec chroot "$root" env -C "$CHECKOUT" "$@"
"""
"""In a mount namespace of its own: into a folder that looks like this machine and is no mount point."""


@pytest.fixture
def plain_root(scratch: Path) -> Path:
    root = scratch / "root"
    root.mkdir(mode=0o755)
    return root


def up(root: Path, data: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`lambdad up` in there."""
    return lambdad(root, "up", "--port", "29999", "--data-dir", str(data), *arguments, **environment)


def lambdad(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.local.cli", *arguments]
    shell = {"PATH": os.environ["PATH"], "HOME": "/tmp", "CHECKOUT": str(CHECKOUT), "PYTHON": sys.base_prefix}
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-euc", ENTER, "sh", str(root), *command],
        env=shell | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def nothing_runs(data: Path) -> bool:
    return not [process for process in psutil.process_iter() if str(data) in " ".join(command_of(process))]


@pytest.fixture
def data(scratch: Path) -> Path:
    return scratch / "data"


def test_a_root_that_is_no_mount_point_is_named_with_what_makes_it_one(plain_root: Path, data: Path) -> None:
    said = refused(up(plain_root, data, **EXTERNAL))
    assert "The root directory is no mount point" in said
    assert "mount --bind FOLDER FOLDER" in said
    assert nothing_runs(data)


@pytest.mark.parametrize(("missing", "command"), [("proc", "mount -t proc proc /proc"), ("dev", "mount --rbind /dev")])
@pytest.mark.parametrize("how", ["--detach", "--no-auth"])
def test_what_is_not_mounted_is_named(missing: str, command: str, how: str, plain_root: Path, data: Path) -> None:
    said = refused(up(plain_root, data, how, WITHOUT=missing, **EXTERNAL))
    assert f"/{missing} here" in said
    assert command in said


def test_a_worker_by_itself_refuses_such_a_root_too(plain_root: Path, data: Path) -> None:
    settings = {"LAMBDAD_DATA_DIR": str(data), "LAMBDAD_CLUSTER_SECRET": "secret", **EXTERNAL}
    assert "The root directory is no mount point" in refused(lambdad(plain_root, "serve", "worker", **settings))


def test_a_root_that_only_root_may_enter_is_named(plain_root: Path, data: Path) -> None:
    plain_root.chmod(0o700)
    said = refused(up(plain_root, data, "--engines-only", **EXTERNAL))
    assert "chmod 755 /" in said
    assert nothing_runs(data)


def test_a_closed_folder_above_the_data_is_named_where_it_cannot_be_looked_through(plain_root: Path, scratch: Path) -> None:
    closed = scratch / "closed"
    closed.mkdir(mode=0o700)
    redis_and_kafka = {name: value for name, value in EXTERNAL.items() if name != "LAMBDAD_DATABASE_URL"}
    said = refused(up(plain_root, closed / "data", "--engines-only", **redis_and_kafka))
    assert f"chmod o+x {closed}" in said
    assert nothing_runs(closed / "data")
