"""Where S3Bucket and S3Key are looked up: an S3-compatible service, or a folder whose folders are buckets."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from shared.domain.errors import ConfigurationError, LambdadError
from shared.registry.object_stores import FILE_SCHEME, open_bucket, open_folder
from shared.settings import Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

READS_AT_ONCE = 2
"""Packages may be large, and each is held in memory while it is checked."""
CHUNK_BYTES = 4 * 1024 * 1024
BUCKETS_MAX = 64
"""Buckets whose connections are kept."""
TEXT_CHARACTERS_MAX = 500
_ANSWER = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,100})</Code>")
_TEXT = re.compile(r"<Message>([^<]*)</Message>")


class SourceRefusedError(LambdadError):
    """S3 answered that the object cannot be had. code, text: S3's own; denied: for lack of permission."""

    def __init__(self, code: str, text: str, *, denied: bool = False) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.denied = denied


class SourceUnreachableError(LambdadError):
    """No answer from S3, or one that says nothing about the object."""


class SourceTooLargeError(LambdadError):
    """The object is larger than any package may be."""


class CodeSource:
    """Raises ConfigurationError when the settings name neither a folder nor an HTTP endpoint."""

    def __init__(self, settings: Settings) -> None:
        self._s3 = settings.s3
        self._region = settings.region
        self._folder = stand_in_folder(settings)
        self._buckets: OrderedDict[str, ObjectStore] = OrderedDict()
        self._gate = asyncio.Semaphore(READS_AT_ONCE)

    async def read(self, bucket: str, key: str, version: str | None, bytes_max: int) -> bytes:
        """The object's bytes. Raises SourceRefusedError, SourceTooLargeError, SourceUnreachableError."""
        try:
            async with asyncio.timeout(self._s3.timeout_s), self._gate:
                if key.endswith("/"):
                    # The library would drop the slash and read another object.
                    raise SourceRefusedError("NoSuchKey", "The specified key does not exist.")
                within, rest = _after_empty_parts(key)
                store = self._bucket(bucket, within)
                if self._folder is not None:
                    # A file has no empty parts in its path; the file system reads such a path without them, and so do we.
                    rest = "/".join(filter(None, key.split("/")))
                    if version not in (None, "null"):
                        raise SourceRefusedError("NoSuchVersion", "The specified version does not exist.")
                    version = None
                return await _read(store, rest, version, bytes_max)
        except TimeoutError as error:
            raise SourceUnreachableError(f"{bucket} did not answer within {self._s3.timeout_s:g} s") from error
        except (BaseError, ValueError, OSError) as error:
            raise _refusal(error) from error

    def _bucket(self, name: str, within: str) -> ObjectStore:
        """within: the beginning of a key that has empty parts; "" of most keys."""
        if self._folder is not None:
            if name in ("", ".", "..") or "/" in name or not (self._folder / name).is_dir():
                raise SourceRefusedError("NoSuchBucket", "The specified bucket does not exist")
            return open_folder(self._folder / name)
        if within:
            return open_bucket(self._s3, name, region=self._region, within=within)
        store = self._buckets.get(name)
        if store is None:
            store = self._buckets[name] = open_bucket(self._s3, name, region=self._region)
            if len(self._buckets) > BUCKETS_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        return store


def _after_empty_parts(key: str) -> tuple[str, str]:
    """("", key), or where the key begins with a slash or has two in a row, (up to the last of these, the rest)."""
    at = key.rfind("//")
    if at >= 0:
        return key[: at + 2], key[at + 2 :]
    return ("/", key[1:]) if key.startswith("/") else ("", key)


async def _read(store: ObjectStore, key: str, version: str | None, bytes_max: int) -> bytes:
    result = await obstore.get_async(store, key, options={"version": version} if version is not None else None)
    if int(result.meta["size"]) > bytes_max:
        raise SourceTooLargeError(key)
    parts, size = [], 0
    # What the answer's head says of its size proves nothing.
    async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
        parts.append(bytes(chunk))
        size += len(parts[-1])
        if size > bytes_max:
            raise SourceTooLargeError(key)
    return b"".join(parts)


def _refusal(error: Exception) -> LambdadError:
    """obstore gives S3's answer as text: after the status stands the body."""
    answer = str(error)
    if (status := _ANSWER.search(answer)) is not None:
        body = answer[status.end() :]
        code, text = _CODE.search(body), _TEXT.search(body)
        denied = isinstance(error, PermissionDeniedError | UnauthenticatedError) or status[1] in ("401", "403")
        if code is not None and status[1][0] != "5":
            return SourceRefusedError(code[1], text[1][:TEXT_CHARACTERS_MAX] if text else "", denied=denied)
        if denied:
            return SourceRefusedError("AccessDenied", "Access Denied", denied=True)
        if status[1] == "404":
            return SourceRefusedError("NoSuchKey", "The specified key does not exist.")
    elif isinstance(error, PermissionError | PermissionDeniedError):
        return SourceRefusedError("AccessDenied", "Access Denied", denied=True)
    elif isinstance(error, FileNotFoundError | ValueError | IsADirectoryError):
        # ValueError: the library takes no key with an empty or a dotted part; no such object can have been stored through it.
        return SourceRefusedError("NoSuchKey", "The specified key does not exist.")
    return SourceUnreachableError(answer.partition("\n")[0][:TEXT_CHARACTERS_MAX])


def stand_in_folder(settings: Settings) -> Path | None:
    """The folder that stands in for S3, None when S3 is a service. Raises ConfigurationError."""
    url = settings.s3.endpoint_url
    if not url:
        return settings.data_dir / "s3"
    if url.startswith(FILE_SCHEME):
        return Path(unquote(urlsplit(url).path))
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"LAMBDAD_S3__ENDPOINT_URL must begin with https://, http:// or file://, which {url} does not")
    return None
