"""Code packages by the SHA-256 of their bytes, in object storage: a local folder or S3. What is read is verified."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from shared.domain.errors import ConfigurationError, LambdadError
from shared.registry.object_stores import FILE_SCHEME, open_bucket, open_folder
from shared.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

DEADLINE_S = 60.0
PART_BYTES = 1024 * 1024
HASH_INLINE_BYTES_MAX = 256 * 1024
"""Hashing more than this happens in a thread: the event loop has other work."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class PackageError(LambdadError):
    """A package could not be stored, is not there, or is not what its name says."""


class PackageMissingError(PackageError):
    """There is no such package, or not any more."""


class PackageStore:
    """Packages are named by their content, so that a name never means other bytes and equal packages are kept once.

    S3 takes its credentials and endpoint from settings.s3, and from the usual AWS_* variables where those are empty.
    """

    def __init__(self, settings: Settings) -> None:
        self._store = _open(settings)

    async def put(self, package: bytes, sha256: str | None = None) -> str:
        """Stores a package unless it is there already; its SHA-256 in hex. Raises PackageError.

        sha256: the package's, from a caller who knows it.
        """
        sha256 = sha256 or await sha256_of(package)
        if await self.size(sha256) == len(package):
            return sha256
        try:
            async with asyncio.timeout(DEADLINE_S):
                await obstore.put_async(self._store, _path(sha256), package, mode="overwrite")
        except AlreadyExistsError:
            pass
        except (BaseError, OSError, TimeoutError) as error:
            raise PackageError(f"package {sha256} could not be stored: {error}") from error
        return sha256

    async def get(self, sha256: str) -> bytes:
        """A package's bytes. Raises PackageError when it is missing, unreadable, or its content has another hash."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                result = await obstore.get_async(self._store, _path(sha256))
                package = bytes(await result.bytes_async())
        except FileNotFoundError as error:
            raise PackageMissingError(f"package {sha256} is not in the package store") from error
        except (BaseError, OSError, TimeoutError) as error:
            raise PackageError(f"package {sha256} could not be read: {error}") from error
        found = await sha256_of(package)
        if found != sha256:
            raise PackageError(f"package {sha256} is damaged: its content hashes to {found}")
        return package

    async def parts(self, sha256: str, size_bytes: int) -> AsyncIterator[bytes]:
        """A package part by part, for readers who are slow; each is read when it is asked for.

        size_bytes: as `size` says. Raises PackageError, and in place of the last part when the content has another hash.
        """
        digest = hashlib.sha256()
        for start in range(0, size_bytes, PART_BYTES):
            length = min(PART_BYTES, size_bytes - start)
            try:
                async with asyncio.timeout(DEADLINE_S):
                    part = bytes(await obstore.get_range_async(self._store, _path(sha256), start=start, length=length))
            except FileNotFoundError as error:
                raise PackageMissingError(f"package {sha256} is not in the package store") from error
            except (BaseError, OSError, TimeoutError) as error:
                raise PackageError(f"package {sha256} could not be read: {error}") from error
            digest.update(part)
            if start + length == size_bytes and digest.hexdigest() != sha256:
                raise PackageError(f"package {sha256} is damaged: its content hashes to {digest.hexdigest()}")
            yield part

    async def size(self, sha256: str) -> int | None:
        """Size in bytes without reading it, None when it is not there. Raises PackageError when the store cannot be asked."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return int((await obstore.head_async(self._store, _path(sha256)))["size"])
        except FileNotFoundError:
            return None
        except (BaseError, OSError, TimeoutError) as error:
            raise PackageError(f"the package store cannot be asked for {sha256}: {error}") from error

    async def remove(self, sha256: str, *, deadline_s: float = DEADLINE_S) -> None:
        """Takes a package away; one that is not there is no error. Raises PackageError."""
        try:
            async with asyncio.timeout(deadline_s):
                await obstore.delete_async(self._store, _path(sha256))
        except FileNotFoundError:
            pass
        except (BaseError, OSError, TimeoutError) as error:
            raise PackageError(f"package {sha256} could not be removed: {error}") from error


async def sha256_of(package: bytes) -> str:
    if len(package) <= HASH_INLINE_BYTES_MAX:
        return hashlib.sha256(package).hexdigest()
    digest = await asyncio.to_thread(hashlib.sha256, package)
    return digest.hexdigest()


def _path(sha256: str) -> str:
    """A folder by the first two digits keeps folders small. Refuses what is not a hash: it may come from a URL."""
    if _SHA256.fullmatch(sha256) is None:
        raise PackageError("the name of a package is 64 hexadecimal digits")
    return f"{sha256[:2]}/{sha256}.zip"


def _open(settings: Settings) -> ObjectStore:
    url = settings.registry.package_store_url
    try:
        if not url or url.startswith(FILE_SCHEME):
            folder = Path(url.removeprefix(FILE_SCHEME)) if url else settings.data_dir / "packages"
            folder.mkdir(parents=True, exist_ok=True)
            return open_folder(folder)
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        if scheme != "s3" or not bucket:
            raise ValueError("it is neither file:///path nor s3://bucket/prefix")
        return open_bucket(settings.s3, bucket, region=settings.region, prefix=prefix.strip("/") or None)
    except (BaseError, OSError, ValueError) as error:
        raise ConfigurationError(f"the package store {url or settings.data_dir} cannot be opened: {error}") from error
