from __future__ import annotations

import asyncio
import hashlib
import random
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.worker.code import cache as code_cache
from services.worker.code import trees
from services.worker.code.cache import CodeCache
from shared.domain.errors import LambdadError
from shared.domain.functions import Layer
from shared.packages.archive import Contents
from shared.packages.reader import PackageReader
from shared.packages.refusals import PackageRefusedError, UnpackError
from tests.hostile_zips import file, link, package
from tests.support import PATIENCE_S, wait_until, zip_of
from tests.unit.worker.specs import version

MIB = 1024 * 1024


class MemoryPackages:
    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.streamed: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def add(self, files: dict[str, bytes]) -> str:
        package = zip_of(files)
        sha256 = hashlib.sha256(package).hexdigest()
        self.stored[sha256] = package
        return sha256

    async def get(self, sha256: str) -> bytes:
        self.fetched.append(sha256)
        await self.gate.wait()
        if sha256 not in self.stored:
            raise LambdadError(f"package {sha256} is missing")
        return self.stored[sha256]

    async def parts(self, sha256: str, size_bytes: int) -> AsyncIterator[bytes]:
        self.streamed.append(sha256)
        for start in range(0, size_bytes, MIB):
            yield self.stored[sha256][start : start + MIB]


@pytest.fixture
def packages() -> MemoryPackages:
    return MemoryPackages()


@pytest.fixture
async def cache(packages: MemoryPackages, tmp_path: Path) -> AsyncIterator[CodeCache]:
    cache = CodeCache(packages, tmp_path / "code", 3 * (MIB + 2 * code_cache.ENTRY_BYTES))
    await cache.start()
    yield cache
    await cache.close()


async def test_what_was_fetched_ahead_is_there_when_it_is_asked_for(
    cache: CodeCache, packages: MemoryPackages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_cache, "AHEAD_ROOM_BYTES", MIB)
    spec = version(code_sha256=packages.add({"app.py": b"x = 1"}))
    cache.fetch_ahead(spec)
    cache.fetch_ahead(version(code_sha256="0" * 64))
    async with asyncio.timeout(PATIENCE_S):
        while not cache._trees or cache._ahead:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    packages.stored.clear()
    lease = await cache.acquire(spec)
    assert (lease.code_dir / "app.py").read_bytes() == b"x = 1"
    lease.release()


async def test_nothing_is_fetched_ahead_where_other_trees_would_go_for_it(cache: CodeCache, packages: MemoryPackages) -> None:
    cache.fetch_ahead(version(code_sha256=packages.add({"app.py": b"x = 1"})))
    await asyncio.sleep(0)
    assert packages.fetched == []
    assert not cache._ahead


async def test_a_package_is_fetched_once_however_many_ask_at_once(cache: CodeCache, packages: MemoryPackages) -> None:
    spec = version(code_sha256=packages.add({"app.py": b"x = 1"}))
    packages.gate.clear()
    asking = [asyncio.create_task(cache.acquire(spec)) for _ in range(20)]
    await asyncio.sleep(0)
    packages.gate.set()
    leases = await asyncio.gather(*asking)
    assert packages.fetched == [spec.code_sha256]
    assert {lease.code_dir for lease in leases} == {leases[0].code_dir}
    assert (leases[0].code_dir / "app.py").read_bytes() == b"x = 1"
    assert leases[0].layers_dir is None


async def test_one_caller_who_gives_up_does_not_take_the_tree_from_the_others(
    cache: CodeCache, packages: MemoryPackages
) -> None:
    spec = version(code_sha256=packages.add({"app.py": b"x"}))
    packages.gate.clear()
    first, second = asyncio.create_task(cache.acquire(spec)), asyncio.create_task(cache.acquire(spec))
    await asyncio.sleep(0.01)
    first.cancel()
    packages.gate.set()
    assert (await second).code_dir.exists()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_the_directory_is_closed_to_others_and_its_trees_are_not(cache: CodeCache, packages: MemoryPackages) -> None:
    lease = await cache.acquire(version(code_sha256=packages.add({"app.py": b"x"})))
    assert stat.S_IMODE(lease.code_dir.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(lease.code_dir.stat().st_mode) == 0o755


async def test_a_missing_package_is_looked_for_again(cache: CodeCache, packages: MemoryPackages) -> None:
    good = zip_of({"app.py": b"x"})
    sha256 = hashlib.sha256(good).hexdigest()
    with pytest.raises(LambdadError, match="missing"):
        await cache.acquire(version(code_sha256=sha256))
    packages.stored[sha256] = good
    lease = await cache.acquire(version(code_sha256=sha256))
    await trees_left(lease.code_dir.parent, {sha256})


async def test_a_package_is_refused_once_and_not_looked_at_again(
    cache: CodeCache, packages: MemoryPackages, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    evil = version(code_sha256=packages.add({"../out": b"x"}))
    for _ in range(5):
        with pytest.raises(PackageRefusedError, match="leaves"):
            await cache.acquire(evil)
    assert packages.fetched == [evil.code_sha256]
    assert [record.levelname for record in caplog.records if record.name == "lambdad.worker"] == ["WARNING"]
    await trees_left(tmp_path / "code", set())


async def test_only_so_many_refusals_are_remembered(
    cache: CodeCache, packages: MemoryPackages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_cache, "REFUSED_MAX", 2)
    evil = [version(code_sha256=packages.add({f"../{i}": b"x"})) for i in range(3)]
    for spec in [*evil, evil[2], evil[0]]:
        with pytest.raises(PackageRefusedError):
            await cache.acquire(spec)
    assert packages.fetched == [evil[i].code_sha256 for i in (0, 1, 2, 0)]


async def test_what_the_host_cannot_do_is_no_refusal_and_is_tried_again(
    cache: CodeCache, packages: MemoryPackages, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = version(code_sha256=packages.add({"app.py": b"x"}))

    async def full(*arguments: object) -> Contents:
        raise UnpackError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(PackageReader, "unpack", full)
        for _ in range(16):
            with pytest.raises(UnpackError, match="No space"):
                await cache.acquire(spec)
    assert len(packages.fetched) == 1, "callers try 16 times at once"
    monkeypatch.setattr(code_cache, "FAILED_KEPT_S", 0.0)
    cache._failed.clear()
    assert (await cache.acquire(spec)).code_dir.exists()


async def test_a_large_package_is_never_in_the_workers_memory(
    cache: CodeCache, packages: MemoryPackages, tmp_path: Path
) -> None:
    content = package(file("data", random.Random(1).randbytes(3 * MIB)), file("app.py"))
    sha256 = hashlib.sha256(content).hexdigest()
    packages.stored[sha256] = content
    lease = await cache.acquire(version(code_sha256=sha256, code_size_bytes=len(content)))
    assert (packages.fetched, packages.streamed) == ([], [sha256])
    assert (lease.code_dir / "data").stat().st_size == 3 * MIB
    await trees_left(tmp_path / "code", {sha256})


async def test_a_tree_weighs_its_files_and_directories_as_well_as_its_bytes(packages: MemoryPackages, tmp_path: Path) -> None:
    cache = CodeCache(packages, tmp_path / "code", MIB)
    await cache.start()
    # 26 bytes, but 261 directories: more than 1 MiB of any disk.
    heavy = version(code_sha256=packages.add({f"{c}/d/e/f/g/h/i/j/k/l/x": b"1" for c in "abcdefghijklmnopqrstuvwxyz"}))
    lease = await cache.acquire(heavy)
    lease.release()
    await trees_left(tmp_path / "code", set())
    await cache.close()


async def test_the_least_recently_used_tree_goes_first_and_never_one_in_use(cache: CodeCache, packages: MemoryPackages) -> None:
    specs = [version(code_sha256=packages.add({"data": bytes([i]) * MIB})) for i in range(4)]
    leases = [await cache.acquire(spec) for spec in specs]
    cache.shrink()
    assert all(lease.code_dir.exists() for lease in leases)
    leases[2].release()
    assert not leases[2].code_dir.exists()
    leases[2].release()
    for lease in (leases[0], leases[1], leases[3]):
        lease.release()
        assert lease.code_dir.exists()
    (await cache.acquire(specs[0])).release()
    again = await cache.acquire(specs[2])
    cache.shrink()
    assert [lease.code_dir.exists() for lease in leases] == [True, False, True, True]
    again.release()


async def test_layers_are_merged_in_order_and_shared_by_the_versions_that_have_the_same_list(
    cache: CodeCache, packages: MemoryPackages
) -> None:
    one = Layer("arn:1", packages.add({"python/a.py": b"one", "python/only_one.py": b"1"}), 1)
    two = Layer("arn:2", packages.add({"python/a.py": b"two", "bin/tool": b"t"}), 1)
    code = packages.add({"app.py": b"x"})
    first = await cache.acquire(version(code_sha256=code, layers=(one, two)))
    same = await cache.acquire(version(code_sha256=code, layers=(one, two)))
    other = await cache.acquire(version(code_sha256=code, layers=(two, one)))
    assert first.layers_dir is not None
    assert other.layers_dir is not None
    assert same.layers_dir == first.layers_dir != other.layers_dir
    assert (first.layers_dir / "python/a.py").read_bytes() == b"two"
    assert (other.layers_dir / "python/a.py").read_bytes() == b"one"
    assert (first.layers_dir / "python/only_one.py").exists()
    assert (first.layers_dir / "bin/tool").exists()


async def test_where_layers_contradict_each_other_the_later_one_wins(cache: CodeCache, packages: MemoryPackages) -> None:
    one, two = Layer("arn:1", packages.add({"a": b"file"}), 1), Layer("arn:2", packages.add({"a/b": b"folder"}), 1)
    code = packages.add({"app.py": b"x"})
    first = await cache.acquire(version(code_sha256=code, layers=(one, two)))
    other = await cache.acquire(version(code_sha256=code, layers=(two, one)))
    assert first.layers_dir is not None
    assert other.layers_dir is not None
    assert (first.layers_dir / "a/b").read_bytes() == b"folder"
    assert (other.layers_dir / "a").read_bytes() == b"file"


async def test_no_layer_is_laid_through_anothers_link(cache: CodeCache, packages: MemoryPackages, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    linked = package(link("d", str(outside)), link("f", str(outside / "f")))
    sha256 = hashlib.sha256(linked).hexdigest()
    packages.stored[sha256] = linked
    one, two = Layer("arn:1", sha256, 1), Layer("arn:2", packages.add({"d/x": b"x", "f": b"f"}), 1)
    lease = await cache.acquire(version(code_sha256=packages.add({"app.py": b"x"}), layers=(one, two)))
    assert lease.layers_dir is not None
    assert not names_in(outside)
    assert not (lease.layers_dir / "d").is_symlink()
    assert (lease.layers_dir / "d/x").read_bytes() == b"x"


async def test_layers_count_together(cache: CodeCache, packages: MemoryPackages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_cache, "ENTRIES_MAX", 3)
    one, two = Layer("arn:1", packages.add({"a": b"", "b": b""}), 1), Layer("arn:2", packages.add({"c": b"", "d": b""}), 1)
    code = packages.add({"app.py": b"x"})
    with pytest.raises(PackageRefusedError, match="more than"):
        await cache.acquire(version(code_sha256=code, layers=(one, two)))
    await cache.acquire(version(code_sha256=code, layers=(one,)))


async def test_what_an_earlier_worker_left_is_gone_some_time_after_the_start(packages: MemoryPackages, tmp_path: Path) -> None:
    sha256 = packages.add({"app.py": b"new"})
    stale = tmp_path / "code" / sha256 / "deep"
    stale.mkdir(parents=True)
    cache = CodeCache(packages, tmp_path / "code", MIB)
    await cache.start()
    lease = await cache.acquire(version(code_sha256=sha256))
    assert names_in(lease.code_dir) == {"app.py"}
    await trees_left(tmp_path / "code", {sha256})
    await cache.close()


async def test_the_start_does_not_wait_for_what_an_earlier_worker_left(
    packages: MemoryPackages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removing, go = threading.Event(), threading.Event()

    def slow(tree: Path, stop: threading.Event | None = None) -> None:
        removing.set()
        go.wait(10)
        trees_remove(tree, stop)

    trees_remove = trees.remove
    monkeypatch.setattr(trees, "remove", slow)
    (tmp_path / "code/stale").mkdir(parents=True)
    cache = CodeCache(packages, tmp_path / "code", MIB)
    await cache.start()
    lease = await cache.acquire(version(code_sha256=packages.add({"app.py": b"x"})))
    assert lease.code_dir.exists()
    go.set()
    await trees_left(tmp_path / "code", {lease.code_dir.name})
    assert removing.is_set()
    await cache.close()


async def trees_left(root: Path, names: set[str]) -> None:
    """Waits until the removals in the background have come this far."""
    await asyncio.to_thread(wait_until, lambda: names_in(root) == names)


def names_in(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}
