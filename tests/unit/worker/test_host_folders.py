"""Which folders of a host fit into one overlay of its root."""

from __future__ import annotations

from pathlib import Path

from services.worker.sandbox import host_folders


def test_folders_are_shown_as_what_they_really_are(tmp_path: Path) -> None:
    (tmp_path / "python-3.12").mkdir()
    (tmp_path / "python").symlink_to("python-3.12")
    shown, within = host_folders.fit({"/var/lang": f"{tmp_path}/python"}, [])
    assert shown == {"/var/lang": f"{tmp_path.resolve()}/python-3.12"}
    assert within == {}


def test_a_folder_of_another_file_system_is_not(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    (tmp_path / "volume" / "python").mkdir(parents=True)
    wanted = {"/usr": f"{tmp_path}/usr", "/var/lang": f"{tmp_path}/volume/python"}
    mounted = [f"{tmp_path.resolve()}/volume", f"{tmp_path.resolve()}/us"]
    assert host_folders.fit(wanted, mounted) == ({"/usr": f"{tmp_path.resolve()}/usr"}, {})


def test_a_folder_within_another_is_seen_there(tmp_path: Path) -> None:
    (tmp_path / "usr" / "lib" / "jvm").mkdir(parents=True)
    real = str(tmp_path.resolve())
    wanted = {"/usr": f"{real}/usr", "/var/lang": f"{real}/usr/lib/jvm", "/same": f"{real}/usr"}
    assert host_folders.fit(wanted, []) == ({"/usr": f"{real}/usr"}, {"/var/lang": "/usr/lib/jvm", "/same": "/usr"})


def test_a_folder_around_another_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "opt" / "python").mkdir(parents=True)
    real = str(tmp_path.resolve())
    wanted = {"/var/lang": f"{real}/opt/python", "/opt": f"{real}/opt", "/": "/"}
    assert host_folders.fit(wanted, []) == ({"/var/lang": f"{real}/opt/python"}, {})


def test_a_mount_point_may_have_any_name() -> None:
    assert host_folders._unescaped(r"/mnt/my\040disk\134x") == "/mnt/my disk\\x"
