from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.worker.code_cache import CodeCache
from services.worker.unpack import PackageRefusedError
from shared.domain.errors import LambdadError
from shared.domain.functions import Layer
from tests.support import zip_of
from tests.unit.worker.specs import version

MIB = 1024 * 1024


class MemoryPackages:
    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.fetched: list[str] = []
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


@pytest.fixture
def packages() -> MemoryPackages:
    return MemoryPackages()


@pytest.fixture
async def cache(packages: MemoryPackages, tmp_path: Path) -> AsyncIterator[CodeCache]:
    cache = CodeCache(packages, tmp_path / "code", 3 * MIB)
    await cache.start()
    yield cache
    await cache.close()


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


async def test_a_missing_or_evil_package_is_an_error_that_can_be_tried_again(
    cache: CodeCache, packages: MemoryPackages
) -> None:
    good = zip_of({"app.py": b"x"})
    sha256 = hashlib.sha256(good).hexdigest()
    with pytest.raises(LambdadError, match="missing"):
        await cache.acquire(version(code_sha256=sha256))
    packages.stored[sha256] = zip_of({"../out": b"x"})
    with pytest.raises(PackageRefusedError, match="leaves"):
        await cache.acquire(version(code_sha256=sha256))
    packages.stored[sha256] = good
    lease = await cache.acquire(version(code_sha256=sha256))
    assert [p.name for p in lease.code_dir.parent.iterdir()] == [sha256]


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


async def test_layers_that_contradict_each_other_are_refused(cache: CodeCache, packages: MemoryPackages) -> None:
    one, two = Layer("arn:1", packages.add({"a": b"file"}), 1), Layer("arn:2", packages.add({"a/b": b"folder"}), 1)
    code = packages.add({"app.py": b"x"})
    for layers in ((one, two), (two, one)):
        with pytest.raises(PackageRefusedError):
            await cache.acquire(version(code_sha256=code, layers=layers))


async def test_what_an_earlier_worker_left_is_gone_after_the_start(packages: MemoryPackages, tmp_path: Path) -> None:
    (tmp_path / "code/stale/deep").mkdir(parents=True)
    cache = CodeCache(packages, tmp_path / "code", MIB)
    await cache.start()
    assert not list((tmp_path / "code").iterdir())
    await cache.close()
