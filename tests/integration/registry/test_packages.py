from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from shared.domain.errors import ConfigurationError
from shared.registry.packages import PackageError, PackageStore
from shared.settings import Settings


def store_in(folder: Path) -> PackageStore:
    return PackageStore(Settings(data_dir=folder))


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def test_a_package_is_named_by_its_content_and_kept_once(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    names = await asyncio.gather(*(store.put(b"content") for _ in range(10)))
    assert set(names) == {hashlib.sha256(b"content").hexdigest()}
    assert await store.get(names[0]) == b"content"
    assert await store.size(names[0]) == 7
    assert files_in(tmp_path) == [f"{names[0]}.zip"]


async def test_a_damaged_package_is_not_given_out(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    sha256 = await store.put(b"content")
    (tmp_path / "packages" / sha256[:2] / f"{sha256}.zip").write_bytes(b"CONTENT")
    with pytest.raises(PackageError, match="damaged"):
        await store.get(sha256)


async def test_a_missing_package_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="not in the package store"):
        await store_in(tmp_path).get("0" * 64)
    assert await store_in(tmp_path).size("0" * 64) is None


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, f"{'0' * 64}/..", "%2e%2e"])
async def test_a_name_that_is_no_hash_reaches_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(PackageError, match="64 hexadecimal digits"):
        await store_in(tmp_path).get(name)


async def test_a_large_package_comes_back_whole(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    package = b"0123456789abcdef" * (1 << 18)
    assert await store.get(await store.put(package)) == package


def test_a_store_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "packages").write_text("a file in its place")
    with pytest.raises(ConfigurationError, match="package store"):
        store_in(tmp_path)
