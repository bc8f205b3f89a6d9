"""Packages are written by anybody. Each of these was made to get out, or to fill up, and is refused."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.worker.unpack import PackageRefusedError, unpack
from tests.support import zip_of

MIB = 1024 * 1024
Entry = tuple[str, bytes, int]


def package(*entries: Entry, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Entries of (name, content, mode with its file type)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.external_attr = mode << 16
            info.create_system = 3
            info.compress_type = compression
            archive.writestr(info, content)
    return buffer.getvalue()


def link(name: str, target: str) -> Entry:
    return name, target.encode(), stat.S_IFLNK | 0o777


def file(name: str, content: bytes = b"x", mode: int = 0o644) -> Entry:
    return name, content, stat.S_IFREG | mode


def everything_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def test_a_package_is_unpacked_as_it_is(tmp_path: Path) -> None:
    size = unpack(package(file("app.py", b"hello"), file("lib/deep/x", b"12")), tmp_path, MIB)
    assert size == 7
    assert (tmp_path / "app.py").read_bytes() == b"hello"
    assert everything_below(tmp_path) == {"app.py", "lib", "lib/deep", "lib/deep/x"}


@pytest.mark.parametrize(
    ("given_mode", "kept"),
    [(0o644, 0o644), (0o755, 0o755), (0, 0o644), (0o600, 0o644), (0o700, 0o755), (0o6777, 0o755), (0o666, 0o644)],
)
def test_files_are_readable_by_all_and_writable_by_root_alone(tmp_path: Path, given_mode: int, kept: int) -> None:
    old = os.umask(0o077)
    try:
        unpack(package(("d/f", b"x", given_mode)), tmp_path, MIB)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "d/f").stat().st_mode) == kept
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a/..", "..", "a/../b", "//x", "./../x", "/"])
def test_a_name_that_leaves_the_tree_is_refused(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(PackageRefusedError):
        unpack(package(file(name)), inside, MIB)
    assert everything_below(tmp_path) <= {"in", "in/a"}


@pytest.mark.parametrize(
    "entries",
    [
        [link("l", "/etc/passwd")],
        [link("l", "../x")],
        [link("l", "a/../../x")],
        [link("d/l", "../../x")],
        [link("d/up", ".."), link("l", "d/up/../x")],
        [file("d/f"), link("d/up", ".."), link("l", "d/up/../../x")],
        [link("l", "")],
        [link("l", "x" * 5_000)],
        [link("one", "two/../../.."), link("two", "d"), file("d/f")],
    ],
)
def test_a_link_that_leads_out_is_refused_also_by_way_of_others(tmp_path: Path, entries: list[Entry]) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(PackageRefusedError):
        unpack(package(*entries), inside, MIB)


def test_links_inside_the_tree_work(tmp_path: Path) -> None:
    unpack(
        package(file("lib/x.so.1", b"so"), link("lib/x.so", "x.so.1"), link("here", "lib"), link("gone", "nowhere")),
        tmp_path,
        MIB,
    )
    assert (tmp_path / "here/x.so").read_bytes() == b"so"
    assert os.readlink(tmp_path / "gone") == "nowhere"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    for entries in ([link("d", str(outside)), file("d/x")], [link("d", "../out"), file("d/x")], [link("d", "e"), file("d/x")]):
        with pytest.raises(PackageRefusedError):
            unpack(package(*entries), inside, MIB)
        for left in inside.iterdir():
            left.unlink() if not left.is_dir() or left.is_symlink() else None
    assert not list(outside.iterdir())


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices_pipes_and_sockets_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(PackageRefusedError, match="neither a file"):
        unpack(package(("dev", b"", kind | 0o666)), tmp_path, MIB)


@pytest.mark.parametrize(
    "entries",
    [
        [file("a"), file("a")],
        [file("a"), file("./a")],
        [file("a"), file("b/"[:1]), file("b//c"), file("b/c")],
        [file("a"), file("a/b")],
        [file("a/b"), file("a")],
        [file("a"), link("a", "b")],
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    with pytest.raises(PackageRefusedError):
        unpack(package(*entries), tmp_path, MIB)


def test_a_bomb_is_stopped_while_it_unpacks(tmp_path: Path) -> None:
    bomb = package(file("zeros", bytes(64 * MIB)))
    assert len(bomb) < 128 * 1024
    with pytest.raises(PackageRefusedError, match="more than 1048576 bytes"):
        unpack(bomb, tmp_path, MIB)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*")) <= MIB


def test_a_bomb_that_lies_about_its_size_is_stopped_too(tmp_path: Path) -> None:
    bomb = bytearray(package(file("zeros", bytes(8 * MIB))))
    local, central = bomb.index(b"PK\x03\x04"), bomb.index(b"PK\x01\x02")
    struct.pack_into("<I", bomb, local + 22, 10)
    struct.pack_into("<I", bomb, central + 24, 10)
    with pytest.raises(PackageRefusedError):
        unpack(bytes(bomb), tmp_path, MIB)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*")) <= MIB


def test_many_files_count_together(tmp_path: Path) -> None:
    with pytest.raises(PackageRefusedError, match="more than"):
        unpack(package(*(file(f"f{i}", bytes(100)) for i in range(20))), tmp_path, 1_999)
    (tmp_path / "exact").mkdir()
    assert unpack(package(*(file(f"f{i}", bytes(100)) for i in range(20))), tmp_path / "exact", 2_000) == 2_000


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_plain_and_deflated_entries_are_taken(tmp_path: Path, compression: int) -> None:
    with pytest.raises(PackageRefusedError, match="deflate"):
        unpack(package(file("a"), compression=compression), tmp_path, MIB)


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    whole = bytearray(package(file("a")))
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(PackageRefusedError, match="encrypted"):
        unpack(bytes(whole), tmp_path, MIB)


def test_a_name_too_long_for_the_file_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageRefusedError, match="cannot be unpacked"):
        unpack(package(file("n" * 300)), tmp_path, MIB)


def test_an_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    nameless = package(file("a.py")).replace(b"a.py", b"\0.py")
    with pytest.raises(PackageRefusedError, match="without a name"):
        unpack(nameless, tmp_path, MIB)


def test_a_damaged_entry_is_refused(tmp_path: Path) -> None:
    whole = bytearray(package(file("a", b"some content"), compression=zipfile.ZIP_STORED))
    whole[whole.index(b"some content")] ^= 1
    with pytest.raises(PackageRefusedError, match="zip"):
        unpack(bytes(whole), tmp_path, MIB)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_bytes_come_nothing_but_a_refusal_or_a_tree_comes_out(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(zip_of({"app.py": b"print(1)", "lib/x.txt": b"text" * 50}))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    root = tmp_path_factory.mktemp("fuzz")
    inside = root / "in"
    inside.mkdir()
    try:
        unpack(bytes(whole), inside, 4_096)
    except PackageRefusedError:
        pass
    assert [p.name for p in root.iterdir()] == ["in"]
