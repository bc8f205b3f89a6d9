"""Packages are written by anybody. Each of these was made to get out, or to fill up, and is refused."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.packages.archive import ENTRIES_MAX, Archive, Contents
from shared.packages.refusals import PackageRefusedError, UnpackError
from shared.packages.unpack import unpack as unpack_archive
from tests import hostile_zips
from tests.hostile_zips import MIB, file, link, package
from tests.support import zip_of


def unpack(content: bytes, target: Path, bytes_max: int = 250 * MIB, entries_max: int = ENTRIES_MAX) -> Contents:
    return unpack_archive(Archive(content, bytes_max, entries_max), target)


def everything_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def test_a_package_is_unpacked_as_it_is(tmp_path: Path) -> None:
    assert unpack(package(file("app.py", b"hello"), file("lib/deep/x", b"12")), tmp_path) == Contents(7, 4)
    assert (tmp_path / "app.py").read_bytes() == b"hello"
    assert everything_below(tmp_path) == {"app.py", "lib", "lib/deep", "lib/deep/x"}


@pytest.mark.parametrize(
    ("given_mode", "kept"),
    [(0o644, 0o644), (0o755, 0o755), (0, 0o644), (0o600, 0o644), (0o700, 0o755), (0o6777, 0o755), (0o666, 0o644)],
)
def test_files_are_readable_by_all_and_writable_by_root_alone(tmp_path: Path, given_mode: int, kept: int) -> None:
    old = os.umask(0o077)
    try:
        unpack(package(("d/f", b"x", given_mode)), tmp_path)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "d/f").stat().st_mode) == kept
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o755


@pytest.mark.parametrize("what", [*hostile_zips.BY_RULE, *hostile_zips.UNREADABLE])
def test_what_is_refused_leaves_nothing_beside_its_own_directory(tmp_path: Path, what: str) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(PackageRefusedError):
        unpack((hostile_zips.BY_RULE | hostile_zips.UNREADABLE)[what], inside)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert sum(p.lstat().st_size for p in inside.rglob("*") if p.is_file()) <= 8 * MIB


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a/..", "..", "a/../b", "//x", "./../x", "/"])
def test_a_name_that_leaves_the_tree_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(PackageRefusedError):
        unpack(package(file("first"), file(name)), inside)
    assert everything_below(tmp_path) == {"in"}


def test_a_link_is_kept_as_it_is_wherever_it_leads(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    inside = tmp_path / "in"
    inside.mkdir()
    links = {"l": "/opt/lib/x.so", "etc": "/etc/passwd", "d/up": "../../outside", "abs": str(outside), "loop": "loop"}
    unpack(package(*(link(name, target) for name, target in links.items())), inside)
    assert {name: os.readlink(inside / name) for name in links} == links
    assert everything_below(tmp_path) == {"in", "outside", "in/d"} | {f"in/{name}" for name in links}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o700


def test_links_inside_the_tree_work(tmp_path: Path) -> None:
    unpack(
        package(file("lib/x.so.1", b"so"), link("lib/x.so", "x.so.1"), link("here", "lib"), link("gone", "nowhere")),
        tmp_path,
    )
    assert (tmp_path / "here/x.so").read_bytes() == b"so"
    assert os.readlink(tmp_path / "gone") == "nowhere"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    for entries in ([link("d", str(outside)), file("d/x")], [link("d", "../out"), file("d/x")], [link("d", "e"), file("d/x")]):
        with pytest.raises(PackageRefusedError):
            unpack(package(*entries), inside)
        for left in inside.iterdir():
            left.unlink() if not left.is_dir() or left.is_symlink() else None
    assert not list(outside.iterdir())


def test_a_full_disk_is_not_the_packages_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(UnpackError, match="No space left"):
        unpack(package(file("a")), tmp_path)


SEEDS = [
    zip_of({"app.py": b"print(1)", "lib/x.txt": b"text" * 50}),
    package(file("a", b"1"), link("l", "../x"), link("o", "/opt/x"), file("d/e/f"), file("l2/x")),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_bytes_come_nothing_but_a_refusal_or_a_tree_comes_out(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    root = tmp_path_factory.mktemp("fuzz")
    inside = root / "in"
    inside.mkdir()
    try:
        contents = unpack(bytes(whole), inside, 4_096)
    except PackageRefusedError:
        pass
    else:
        made = everything_below(inside)
        assert contents.entries == len(made)
        assert contents.unzipped_bytes == sum(
            (inside / name).lstat().st_size for name in made if not is_directory(inside / name)
        )
    assert [p.name for p in root.iterdir()] == ["in"]


def is_directory(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)
