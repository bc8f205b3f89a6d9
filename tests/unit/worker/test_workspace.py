from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.worker.workspace import claim, remove_abandoned
from shared.domain.errors import ConfigurationError


def test_two_workers_of_one_name_cannot_share_a_directory(tmp_path: Path) -> None:
    mine = claim(tmp_path, "worker-a")
    with pytest.raises(ConfigurationError, match="worker-a is running"):
        claim(tmp_path, "worker-a")
    mine.release()
    claim(tmp_path, "worker-a").release()


def test_the_directory_can_be_passed_through_but_not_listed(tmp_path: Path) -> None:
    mine = claim(tmp_path, "a")
    assert mine.path == tmp_path / "worker-a"
    assert stat.S_IMODE(mine.path.stat().st_mode) == 0o711
    mine.release()


def test_directories_of_dead_workers_are_removed_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    mine, living = claim(tmp_path, "worker-mine"), claim(tmp_path, "worker-living")
    (claimed := claim(tmp_path, "worker-dead")).release()
    (claimed.path / "code").mkdir()
    (tmp_path / "packages").mkdir()
    remove_abandoned(tmp_path, mine.path)
    assert {p.name for p in tmp_path.iterdir()} == {"worker-mine", "worker-living", "packages"}
    mine.release()
    living.release()


def test_a_data_directory_that_cannot_be_written_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        claim(tmp_path / "file", "worker-a")
