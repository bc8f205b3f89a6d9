"""Installs the peers from their pinned requirements, each in a place of its own below bench-results/tmp, once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local.certificates import with_certificates
from tests.bench.processes import PeerError

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "bench-results" / "tmp"
INSTALL_TIMEOUT_S = 300


def python_environment(name: str, *, locked: str = "") -> Path:
    """The virtual environment with requirements/bench-NAME.txt (or LOCKED.txt). Raises PeerError when it cannot be made."""
    requirements = ROOT / "requirements" / f"{locked or f'bench-{name}'}.txt"
    home = PLACE / f"python-{name}"
    if _is_stale(home, [requirements]):
        shutil.rmtree(home, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(home)])
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--no-deps", "--require-hashes", "-r", str(requirements)])
        _mark(home, [requirements])
    return home


def node_packages(source: Path) -> Path:
    """A copy of the folder with the packages of its package-lock.json. Raises PeerError when they cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        raise PeerError("npm is not installed")
    home = PLACE / f"node-{source.name}"
    manifests = [source / "package.json", source / "package-lock.json"]
    if _is_stale(home, manifests):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for manifest in manifests:
            shutil.copy(manifest, home)
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=home)
        _mark(home, manifests)
    for file in source.iterdir():
        if file.is_file() and file not in manifests:
            shutil.copy(file, home)
    return home


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    print(f"  installing: {' '.join(command[-4:])}", flush=True)
    try:
        environment = with_certificates(os.environ)
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"could not be installed: {error}") from error
    if done.returncode != 0:
        raise PeerError(f"could not be installed: {done.stderr[-1000:]}")


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + sys.version.encode()).hexdigest()


def _is_stale(home: Path, files: Sequence[Path]) -> bool:
    stamp = home / ".installed"
    return not stamp.exists() or stamp.read_text() != _digest(files)


def _mark(home: Path, files: Sequence[Path]) -> None:
    (home / ".installed").write_text(_digest(files))
