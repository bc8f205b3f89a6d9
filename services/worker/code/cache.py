"""Unpacked code by content hash: /var/task of every version and the merged layers that become /opt.

A tree is unpacked once, beside its final name, and renamed when complete, so what is in the cache is whole. Trees that
living environments use are never removed; of the others the least recently used go first when the bound is passed. A tree
weighs what it takes of the disk: its bytes, and a block for each of its files and directories. A package that was refused
once is not looked at again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import Counter, Gauge

from services.worker.code.trees import Remover, doom
from shared.domain.errors import LambdadError
from shared.domain.functions import Layer
from shared.domain.limits import UNZIPPED_BYTES_MAX
from shared.packages.archive import ENTRIES_MAX, Contents
from shared.packages.reader import PackageReader
from shared.packages.refusals import PackageRefusedError, UnpackError

log = logging.getLogger("lambdad.worker")

FETCH_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 5.0
ENTRY_BYTES = 4_096
"""What a file or directory takes of the disk besides its bytes: its inode, and the rest of its last block."""
IN_MEMORY_BYTES_MAX = 1024 * 1024
"""Larger packages are on the disk between the store and their unpacking."""
LARGE_AT_ONCE = 4
AHEAD_MAX, AHEAD_AT_ONCE = 1_000, 2
"""Versions whose packages wait to be fetched before anybody asks, and are."""
AHEAD_ROOM_BYTES = UNZIPPED_BYTES_MAX
"""What of the cache's bound is left to those that somebody asks for."""
FAILED_KEPT_S = 1.0
"""So long what this host could not do is not tried again: callers try at once, and many times."""
REFUSED_MAX = 1_024
"""So many refusals are remembered; an older one is found out again."""

CACHE_BYTES = Gauge("lambdad_worker_code_cache_bytes", "Disk space that unpacked code in the cache takes")
UNPACKED = Counter("lambdad_worker_packages_unpacked_total", "Packages fetched and unpacked")
REFUSED = Counter("lambdad_worker_packages_refused_total", "Packages that must not be unpacked, each counted once")


class Packages(Protocol):
    async def get(self, sha256: str) -> bytes:
        """The package, verified against its hash. Raises LambdadError when it is not there or not what it should be."""

    def parts(self, sha256: str, size_bytes: int) -> AsyncIterator[bytes]:
        """The same part by part; in place of the last one LambdadError when the hash is another."""


class Packaged(Protocol):
    """What a version is made of, as in `VersionSpec`."""

    @property
    def code_sha256(self) -> str: ...
    @property
    def code_size_bytes(self) -> int: ...
    @property
    def layers(self) -> Sequence[Layer]: ...


class _Tree:
    __slots__ = ("path", "users", "weight_bytes")

    def __init__(self, path: Path, weight_bytes: int) -> None:
        self.path = path
        self.weight_bytes = weight_bytes
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
    """root: a directory of its own, emptied from the start on and closed to everybody else: a sandbox gets at a tree only by
    the mount that is made for it. bytes_max: of the disk."""

    def __init__(self, packages: Packages, root: Path, bytes_max: int) -> None:
        self._packages = packages
        self._root = root
        self._bytes_max = bytes_max
        self._trees: OrderedDict[str, _Tree] = OrderedDict()
        self._bytes = 0
        self._under_way: dict[str, asyncio.Task[_Tree]] = {}
        self._refused: OrderedDict[str, str] = OrderedDict()
        self._remover = Remover(root)
        self._failed: dict[str, tuple[float, str]] = {}
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._reader = PackageReader()
        self._ahead: set[asyncio.Task[None]] = set()
        self._ahead_turns = asyncio.Semaphore(AHEAD_AT_ONCE)
        CACHE_BYTES.set_function(lambda: self._bytes)

    async def start(self) -> None:
        """Raises OSError when the directory cannot be made. What an earlier worker left is removed in the background."""
        await asyncio.to_thread(self._empty)
        self._remover.remove_left()

    async def close(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._ahead, *self._under_way.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT_S)
        await self._remover.close()

    def fetch_ahead(self, spec: Packaged) -> None:
        """Have the version's trees here by the time they are asked for. A favour: not while many others are done, and nothing
        else goes for it."""
        if len(self._ahead) < AHEAD_MAX and self._bytes + AHEAD_ROOM_BYTES < self._bytes_max:
            task = asyncio.get_running_loop().create_task(self._fetch_ahead(spec))
            self._ahead.add(task)
            task.add_done_callback(self._ahead.discard)

    async def _fetch_ahead(self, spec: Packaged) -> None:
        async with self._ahead_turns:
            try:
                (await self.acquire(spec)).release()
            except LambdadError as error:
                log.info("package %s was not fetched ahead: %s", spec.code_sha256, error)

    async def acquire(self, spec: Packaged) -> CodeLease:
        """Raises PackageRefusedError when a package must not be unpacked, LambdadError when one is missing or damaged or cannot
        be unpacked now."""
        code = await self._tree(spec.code_sha256, lambda target: self._unpack_code(spec, target))
        code.users += 1
        try:
            layers = await self._layers(spec)
        except BaseException:
            code.users -= 1
            raise
        return CodeLease(self, code, layers)

    async def _layers(self, spec: Packaged) -> _Tree | None:
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
                self._bytes -= tree.weight_bytes
                self._remover.remove(tree.path)
            if self._bytes <= self._bytes_max:
                return

    async def _tree(self, key: str, fill: Callable[[Path], Awaitable[Contents]]) -> _Tree:
        """The tree of `key`, made by the first who asks while all others wait for the same one."""
        tree = self._trees.get(key)
        if tree is not None:
            self._trees.move_to_end(key)
            return tree
        refused = self._refused.get(key)
        if refused is not None:
            raise PackageRefusedError(refused)
        self._raise_failure(key)
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

    async def _make(self, key: str, fill: Callable[[Path], Awaitable[Contents]]) -> _Tree:
        target = Path(tempfile.mkdtemp(prefix="new-", dir=self._root))
        try:
            contents = await fill(target)
            path = self._root / key
            _publish(target, path)
        except BaseException as error:
            self._remover.remove(target)
            if isinstance(error, PackageRefusedError):
                self._refuse(key, error)
            elif isinstance(error, UnpackError):
                self._failed[key] = (asyncio.get_running_loop().time() + FAILED_KEPT_S, str(error))
            raise
        tree = _Tree(path, contents.unzipped_bytes + (contents.entries + 1) * ENTRY_BYTES)
        self._trees[key] = tree
        self._bytes += tree.weight_bytes
        UNPACKED.inc()
        # Whoever asked takes the tree in this same turn of the loop; only then may it be weighed against the bound.
        asyncio.get_running_loop().call_later(1.0, self.shrink)
        return tree

    def _raise_failure(self, key: str) -> None:
        now = asyncio.get_running_loop().time()
        self._failed = {known: failure for known, failure in self._failed.items() if failure[0] > now}
        if key in self._failed:
            raise UnpackError(self._failed[key][1])

    def _refuse(self, key: str, error: PackageRefusedError) -> None:
        """Packages go by the hash of their bytes, so that what was found once holds for ever."""
        REFUSED.inc()
        log.warning("package %s is refused: %s", key, error)
        self._refused[key] = str(error)
        while len(self._refused) > REFUSED_MAX:
            self._refused.popitem(last=False)

    async def _unpack_code(self, spec: Packaged, target: Path) -> Contents:
        return await self._unpack(spec.code_sha256, spec.code_size_bytes, target, UNZIPPED_BYTES_MAX, ENTRIES_MAX)

    async def _unpack_layers(self, spec: Packaged, target: Path) -> Contents:
        """Each layer over the ones before it: a later layer's file wins."""
        size_bytes = entries = 0
        for layer in spec.layers:
            left = (UNZIPPED_BYTES_MAX - size_bytes, ENTRIES_MAX - entries)
            contents = await self._unpack(layer.sha256, layer.size_bytes, target, *left)
            size_bytes += contents.unzipped_bytes
            entries += contents.entries
        return Contents(size_bytes, entries)

    async def _unpack(self, sha256: str, size_bytes: int, target: Path, bytes_max: int, entries_max: int) -> Contents:
        if size_bytes <= IN_MEMORY_BYTES_MAX:
            async with _fetching(sha256):
                package = await self._packages.get(sha256)
            return await self._reader.unpack(package, target, bytes_max, entries_max)
        async with self._large:
            # Without a name: it is gone when it is closed, however this process ends.
            with tempfile.TemporaryFile(dir=self._root) as file:
                async with _fetching(sha256):
                    async for part in self._packages.parts(sha256, size_bytes):
                        await asyncio.to_thread(file.write, part)
                    await asyncio.to_thread(file.flush)
                return await self._reader.unpack(file, target, bytes_max, entries_max)

    def _empty(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root.chmod(0o700)
        for left in self._root.iterdir():
            doom(left, self._root)


def _publish(target: Path, path: Path) -> None:
    target.chmod(0o755)
    target.rename(path)


@contextlib.asynccontextmanager
async def _fetching(sha256: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(FETCH_TIMEOUT_S):
            yield
    except TimeoutError as error:
        raise LambdadError(f"package {sha256} did not arrive within {FETCH_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise UnpackError(f"package {sha256} cannot be kept here: {error.strerror or error}") from error
