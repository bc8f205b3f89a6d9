"""Unpacked code by content hash: /var/task of every version and the merged layers that become /opt.

A tree is unpacked once, beside its final name, and renamed when complete, so what is in the cache is whole. Trees that
living environments use are never removed; of the others the least recently used go first when the bound is passed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import tempfile
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from prometheus_client import Counter, Gauge

from services.worker.unpack import PackageRefusedError, unpack
from shared.domain.errors import LambdadError
from shared.domain.functions import VersionSpec
from shared.domain.limits import UNZIPPED_BYTES_MAX

log = logging.getLogger("lambdad.worker")

FETCH_TIMEOUT_S = 60.0
UNPACKING_AT_ONCE = 2

CACHE_BYTES = Gauge("lambdad_worker_code_cache_bytes", "Unpacked code in the cache")
UNPACKED = Counter("lambdad_worker_packages_unpacked_total", "Packages fetched and unpacked")


class Packages(Protocol):
    async def get(self, sha256: str) -> bytes:
        """The package, verified against its hash. Raises LambdadError when it is not there or not what it should be."""


class _Tree:
    __slots__ = ("path", "size_bytes", "users")

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.users = 0


class CodeLease:
    """Holds one version's trees in the cache until `release`, which is idempotent."""

    def __init__(self, cache: CodeCache, code: _Tree, layers: _Tree | None) -> None:
        self._cache = cache
        self._trees = [code] if layers is None else [code, layers]
        self.code_dir = code.path
        self.layers_dir = None if layers is None else layers.path

    def release(self) -> None:
        trees, self._trees = self._trees, []
        for tree in trees:
            tree.users -= 1
        if trees:
            self._cache.shrink()


class CodeCache:
    """root: a directory of its own, emptied at the start and closed to everybody else: a sandbox gets at a tree only by the
    mount that is made for it."""

    def __init__(self, packages: Packages, root: Path, bytes_max: int) -> None:
        self._packages = packages
        self._root = root
        self._bytes_max = bytes_max
        self._trees: OrderedDict[str, _Tree] = OrderedDict()
        self._bytes = 0
        self._under_way: dict[str, asyncio.Task[_Tree]] = {}
        self._removals: set[asyncio.Task[None]] = set()
        self._unpacking = asyncio.Semaphore(UNPACKING_AT_ONCE)
        CACHE_BYTES.set_function(lambda: self._bytes)

    async def start(self) -> None:
        """Raises OSError when the directory cannot be made."""
        await asyncio.to_thread(self._empty)

    async def close(self) -> None:
        for task in self._under_way.values():
            task.cancel()
        waiting = [*self._under_way.values(), *self._removals]
        if waiting:
            await asyncio.wait(waiting, timeout=5.0)

    async def acquire(self, spec: VersionSpec) -> CodeLease:
        """Raises LambdadError when a package is missing, damaged or must not be unpacked."""
        code = await self._tree(spec.code_sha256, lambda target: self._unpack_code(spec, target))
        code.users += 1
        try:
            layers = await self._layers(spec)
        except BaseException:
            code.users -= 1
            raise
        return CodeLease(self, code, layers)

    async def _layers(self, spec: VersionSpec) -> _Tree | None:
        if not spec.layers:
            return None
        key = "layers-" + hashlib.sha256("\n".join(layer.sha256 for layer in spec.layers).encode()).hexdigest()
        layers = await self._tree(key, lambda target: self._unpack_layers(spec, target))
        layers.users += 1
        return layers

    def shrink(self) -> None:
        """Remove unused trees, the least recently used first, until the bound holds."""
        if self._bytes <= self._bytes_max:
            return
        for key, tree in list(self._trees.items()):
            if tree.users == 0:
                del self._trees[key]
                self._bytes -= tree.size_bytes
                # Out of the way at once: the same tree may be made again while this one is still being removed.
                doomed = tree.path.rename(self._root / f"old-{uuid.uuid4().hex}")
                task = asyncio.get_running_loop().create_task(asyncio.to_thread(shutil.rmtree, doomed, True))
                self._removals.add(task)
                task.add_done_callback(self._removals.discard)
            if self._bytes <= self._bytes_max:
                return

    async def _tree(self, key: str, fill: Callable[[Path], Awaitable[int]]) -> _Tree:
        """The tree of `key`, made by the first who asks while all others wait for the same one."""
        tree = self._trees.get(key)
        if tree is not None:
            self._trees.move_to_end(key)
            return tree
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._make(key, fill))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._made(key, done))
        # Shielded: a caller who goes away must not take the others' tree with him.
        return await asyncio.shield(task)

    def _made(self, key: str, task: asyncio.Task[_Tree]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # seen, also when every caller has gone

    async def _make(self, key: str, fill: Callable[[Path], Awaitable[int]]) -> _Tree:
        target = Path(tempfile.mkdtemp(prefix="new-", dir=self._root))
        try:
            size_bytes = await fill(target)
            path = self._root / key
            _publish(target, path)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
            raise
        tree = _Tree(path, size_bytes)
        self._trees[key] = tree
        self._bytes += size_bytes
        UNPACKED.inc()
        # Whoever asked takes the tree in this same turn of the loop; only then may it be weighed against the bound.
        asyncio.get_running_loop().call_later(1.0, self.shrink)
        return tree

    async def _unpack_code(self, spec: VersionSpec, target: Path) -> int:
        return await self._unpack(spec.code_sha256, target, UNZIPPED_BYTES_MAX)

    async def _unpack_layers(self, spec: VersionSpec, target: Path) -> int:
        """Each layer is unpacked by itself and laid over the ones before it: a later layer's file wins."""
        size_bytes = 0
        for layer in spec.layers:
            part = Path(tempfile.mkdtemp(prefix="part-", dir=self._root))
            try:
                size_bytes += await self._unpack(layer.sha256, part, UNZIPPED_BYTES_MAX - size_bytes)
                await asyncio.to_thread(_lay_over, part, target)
            finally:
                await asyncio.to_thread(shutil.rmtree, part, ignore_errors=True)
        return size_bytes

    async def _unpack(self, sha256: str, target: Path, bytes_max: int) -> int:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                package = await self._packages.get(sha256)
        except TimeoutError as error:
            raise LambdadError(f"package {sha256} did not arrive within {FETCH_TIMEOUT_S:.0f} s") from error
        async with self._unpacking:
            return await asyncio.to_thread(unpack, package, target, bytes_max)

    def _empty(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root.chmod(0o700)
        for left in self._root.iterdir():
            shutil.rmtree(left, ignore_errors=True)


def _publish(target: Path, path: Path) -> None:
    target.chmod(0o755)
    target.rename(path)


def _lay_over(part: Path, target: Path) -> None:
    """Move the files of `part` into `target`. Both trees are free of links that lead out, and links are never followed."""
    for folder, names, files in os.walk(part):
        under = target / Path(folder).relative_to(part)
        links = [name for name in names if (Path(folder) / name).is_symlink()]
        for name in names:
            if name not in links:
                _make_plain_directory(under / name)
        for name in [*files, *links]:
            place = under / name
            if place.is_dir() and not place.is_symlink():
                raise PackageRefusedError(f"one layer has {name!r} as a file, another as a directory")
            os.replace(Path(folder) / name, place)


def _make_plain_directory(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        raise PackageRefusedError(f"one layer has {path.name!r} as a directory, another does not")
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
