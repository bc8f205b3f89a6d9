from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from services.worker.code.trees import remove


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    deep = str(tmp_path / "tree")
    for _ in range(1_500):
        os.mkdir(deep)
        deep += "/d"
    Path(deep).write_text("")
    remove(tmp_path / "tree")
    assert not list(tmp_path.iterdir())


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "l").symlink_to(outside)
    (tree / "loop").symlink_to("loop")
    remove(tree)
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(outside) == ["kept"]


def test_a_removal_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "tree/x").mkdir(parents=True)
    stop = threading.Event()
    stop.set()
    remove(tmp_path / "tree", stop)
    assert (tmp_path / "tree/x").exists()


def test_what_cannot_be_removed_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    remove(tmp_path / "none")
    assert not [record for record in caplog.records if record.name == "lambdad.worker"]
    (tmp_path / "file").write_text("")
    remove(tmp_path / "file")
    assert "was not removed" in caplog.text
