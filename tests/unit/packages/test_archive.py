"""What is taken of a package and what is refused, without unpacking anything."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.packages.archive import Archive, Contents
from shared.packages.refusals import SHOWN_CHARACTERS_MAX, PackageRefusedError, PackageTooLargeError, PackageUnreadableError
from shared.packages.unpack import read_through
from tests import hostile_zips as zips
from tests.hostile_zips import MIB, file, link, package, raw_zip
from tests.support import zip_of

LIMIT = 250 * MIB
TEXT_CHARACTERS_MAX = SHOWN_CHARACTERS_MAX + 100


def check(content: bytes, limit: int = LIMIT) -> Contents:
    return read_through(Archive(content, limit))


@pytest.mark.parametrize("what", zips.BY_RULE)
def test_what_breaks_a_rule_is_refused_with_a_text_that_fits_an_answer(what: str) -> None:
    with pytest.raises(PackageRefusedError) as refused:
        check(zips.BY_RULE[what])
    assert not isinstance(refused.value, PackageUnreadableError | PackageTooLargeError)
    assert len(str(refused.value)) < TEXT_CHARACTERS_MAX
    assert str(refused.value).isascii()


@pytest.mark.parametrize("what", zips.UNREADABLE)
def test_what_is_no_sound_zip_is_refused_as_that(what: str) -> None:
    with pytest.raises(PackageUnreadableError) as refused:
        check(zips.UNREADABLE[what])
    assert len(str(refused.value)) < TEXT_CHARACTERS_MAX


def test_nothing_is_unpacked_of_a_package_whose_entries_are_refused() -> None:
    began = time.process_time()
    for _ in range(20):
        with pytest.raises(PackageRefusedError, match="leaves"):
            Archive(zips.BY_RULE["behind 100 MB of zeros"], LIMIT)
    assert time.process_time() - began < 0.5, "20 times 100 MB would take seconds"


def test_bytes_are_counted_and_not_believed() -> None:
    bomb = package(file("zeros", bytes(64 * MIB)))
    with pytest.raises(PackageTooLargeError, match=f"more than {MIB} bytes"):
        Archive(bomb, MIB)
    with pytest.raises(PackageRefusedError):
        check(zips.lying(bomb, 10), MIB)
    many = package(*(file(f"f{i}", bytes(100)) for i in range(20)))
    with pytest.raises(PackageTooLargeError):
        check(many, 1_999)
    assert check(many, 2_000) == Contents(2_000, 20)


def test_every_inode_counts_also_of_directories_that_only_names_imply() -> None:
    assert check(raw_zip([b"a/b/c", b"a/b/d", b"a/e/"])) == Contents(0, 5)
    names = [b"%d/%d" % (i, i) for i in range(50)]
    assert Archive(raw_zip(names), LIMIT, entries_max=100).contents.entries == 100
    with pytest.raises(PackageRefusedError, match="more than 99 entries"):
        Archive(raw_zip(names), LIMIT, entries_max=99)


def test_a_long_list_of_entries_is_refused_before_it_becomes_objects() -> None:
    million = zips.BY_RULE["a million entries"]
    tracemalloc.start()
    try:
        with pytest.raises(PackageRefusedError, match="more than 100000 entries"):
            Archive(million, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_an_entry_takes_less_than_a_kibibyte_of_memory() -> None:
    content = raw_zip(b"%05d.py" % i for i in range(10_000))
    tracemalloc.start()
    try:
        assert check(content).entries == 10_000
        assert tracemalloc.get_traced_memory()[1] < 10_000 * 1_024
    finally:
        tracemalloc.stop()


def test_a_bomb_is_read_in_chunks() -> None:
    bomb = package(file("zeros", bytes(200 * MIB)))
    tracemalloc.start()
    try:
        assert check(bomb).unzipped_bytes == 200 * MIB
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "entries",
    [
        [link("l", "/opt/lib/x.so")],
        [link("l", "/etc/passwd")],
        [link("l", "../../opt/x")],
        [link("d/l", "../../x")],
        [link("a", "b"), link("b", "a")],
        [link("l", "x" * 4_095)],
    ],
)
def test_a_link_may_lead_anywhere_as_only_the_sandbox_follows_it(entries: list[zips.Entry]) -> None:
    assert check(package(*entries)).entries == len({name for name, _, _ in entries}) + ("d/l" in entries[0][0])


@pytest.mark.parametrize("name", ["App.py", "a\\b.py", "sp ace", "-rf", "new\nline", "*", "~", "a.", "con", "\u202egnp.py"])
def test_names_that_only_look_odd_are_names(name: str) -> None:
    taken = Archive(package(file(name), file("app.py")), LIMIT)
    assert set(taken.files) == {name, "app.py"}


def test_names_that_differ_by_case_are_two() -> None:
    assert set(Archive(package(file("A.py"), file("a.py")), LIMIT).files) == {"A.py", "a.py"}


@pytest.mark.parametrize(
    ("raw", "flags", "path"),
    [
        ("grün.py".encode(), zips.UTF_8, "grün.py"),
        ("grün.py".encode(), 0, "grün.py"),
        ("grün.py".encode("cp437"), 0, "grün.py"),
        (b"./a//b/./c.py", 0, "a/b/c.py"),
    ],
)
def test_a_name_is_read_as_the_tool_meant_it(raw: bytes, flags: int, path: str) -> None:
    taken = Archive(raw_zip([raw], flags=flags, content=b"x"), LIMIT)
    assert set(taken.files) == {path}
    assert read_through(taken).unzipped_bytes == 1


class _Pipe(io.RawIOBase):
    """What cannot be sought in: zipfile writes data descriptors then."""

    def __init__(self) -> None:
        self.written = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.written += bytes(data)  # type: ignore[call-overload]
        return len(data)  # type: ignore[arg-type]


def test_archives_that_were_written_to_a_pipe_are_taken() -> None:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("app.py", b"x" * 1_000)
        written.writestr("lib/y.py", b"y")
    assert b"PK\x07\x08" in pipe.written
    assert check(pipe.written) == Contents(1_001, 3)


def zip64(content: bytes, gap: bytes = b"") -> bytes:
    """The same archive with a zip64 end record, its place said in its locator, and something between the two."""
    at = content.index(b"PK\x05\x06")
    count, size, start = struct.unpack_from("<HII", content, at + 10)
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, start)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, at, 1)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return content[:at] + record + gap + locator + end


def test_zip64_archives_are_taken_and_counted_by_their_own_record() -> None:
    assert check(zip64(raw_zip([b"a", b"b"]))) == Contents(0, 2)
    with pytest.raises(PackageRefusedError, match="more than 100000 entries"):
        Archive(zip64(zips.entries_without_files(200_000)), LIMIT)
    with pytest.raises(PackageUnreadableError, match="zip64"):
        Archive(zip64(zips.entries_without_files(200_000), gap=b"gap"), LIMIT)
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as written, written.open("large", "w", force_zip64=True) as out:
            out.write(b"12345")
        assert check(buffer.getvalue()) == Contents(5, 1)


def test_what_stands_before_an_archive_or_in_its_comment_is_no_part_of_it() -> None:
    content = zip_of({"app.py": b"x"})
    assert check(b"#!/bin/sh\n" + content).entries == 1
    with io.BytesIO(content) as buffer:
        with zipfile.ZipFile(buffer, "a") as archived:
            archived.comment = b"PK\x01\x02" * 1_000
        assert check(buffer.getvalue()).entries == 1


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_whatever_is_done_to_a_zip_there_is_no_error_but_the_refusal(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(whole) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert", "copy"])):
            case "set":
                whole[at] = data.draw(st.integers(0, 255))
            case "cut":
                del whole[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                whole[at:at] = data.draw(st.binary(max_size=40))
            case _:
                begin = data.draw(st.integers(0, len(whole) - 1))
                whole[at:at] = whole[begin : begin + data.draw(st.integers(1, 80))]
        if not whole:
            break
    text = ""
    try:
        assert check(bytes(whole), 4_096).unzipped_bytes <= 4_096
    except PackageRefusedError as refused:
        text = str(refused)
    assert len(text) < TEXT_CHARACTERS_MAX


SEEDS = [
    zip_of({"app.py": b"print(1)", "lib/x.txt": b"text" * 50}),
    package(file("a", bytes(range(50))), link("l", "a"), link("o", "/opt/x"), file("d/e/f")),
    zip64(raw_zip([b"a", "ü".encode(), b"d/"], content=b"abc")),
    raw_zip([b"x" * 200, b"y/" * 60 + b"z"]),
]
