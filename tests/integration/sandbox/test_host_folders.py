"""An overlay of some of a host's folders, as the kernel makes it: here of a folder that stands for the host's root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.worker.sandbox import host_folders, libc
from tests.integration.sandbox.harness import needs_root

pytestmark = needs_root


@pytest.fixture
def host(tmp_path: Path) -> Path:
    for name, text in {"usr/bin/tool": "old", "srv/secret": "not shown"}.items():
        (tmp_path / "host" / name).parent.mkdir(parents=True)
        (tmp_path / "host" / name).write_text(text)
    return tmp_path / "host"


@contextmanager
def mounted(layers: list[Path], place: Path) -> Iterator[Path]:
    place.mkdir()
    host_folders.mount([str(layer) for layer in layers], str(place))
    try:
        yield Path(f"{place}{host_folders.ROOT}")
    finally:
        libc.unmount(str(place))


@pytest.fixture
def layers(host: Path, tmp_path: Path) -> list[Path]:
    """Of an overlay that shows /usr alone."""
    try:
        host_folders.redirect(str(tmp_path / "layer"), {"/usr": "/usr"})
        with mounted([tmp_path / "layer", host], tmp_path / "first"):
            return [tmp_path / "layer", host]
    except OSError as error:
        pytest.skip(f"no such overlays of {tmp_path}: {error}")


def test_what_is_shown_is_seen_and_nothing_else(layers: list[Path], tmp_path: Path) -> None:
    (layers[-1] / ".root" / "srv").mkdir(parents=True)
    with mounted(layers, tmp_path / "place") as root:
        assert (root / "usr/bin/tool").read_text() == "old"
        assert os.listdir(root) == ["usr"]


def test_what_the_host_has_replaced_is_replaced_for_the_next(layers: list[Path], host: Path, tmp_path: Path) -> None:
    """As an upgrade does, while sandboxes stand that have used what was before."""
    with mounted(layers, tmp_path / "place") as root:
        assert (root / "usr/bin/tool").read_text() == "old"
        assert not (root / "usr/bin/another").exists()
        (host / "usr/bin/fresh").write_text("new")
        (host / "usr/bin/fresh").replace(host / "usr/bin/tool")
        (host / "usr/bin/another").write_text("added")
        with mounted(layers, tmp_path / "next") as next_root:
            assert (next_root / "usr/bin/tool").read_text() == "new"
            assert (next_root / "usr/bin/another").read_text() == "added"
