"""The code of a request: a zip, sent along or taken from S3, that can be unpacked within AWS's limits; and then stored."""

from __future__ import annotations

import asyncio
import io
import lzma
import struct
import zipfile
import zlib

import msgspec

from services.frontend.apis.lambda_.context import ControlContext, Request
from shared.domain.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    RequestEntityTooLargeException,
    ServiceException,
)
from shared.domain.limits import UNZIPPED_BYTES_MAX, ZIP_UPLOAD_BYTES_MAX
from shared.registry import stored_packages
from shared.registry.code_sources import SourceRefusedError, SourceTooLargeError, SourceUnreachableError
from shared.registry.packages import PackageError, sha256_of

CHECK_INLINE_BYTES_MAX = 64 * 1024
"""Packages that are, or unpack to, more than this are checked in a thread."""
ENTRIES_MAX = 100_000
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    OverflowError,
)
"""What zipfile raises for archives that are damaged, encrypted, truncated or made to hurt."""
CANNOT_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."
UNZIPPED_TOO_LARGE = f"Unzipped size must be smaller than {UNZIPPED_BYTES_MAX} bytes"


class Package(msgspec.Struct, frozen=True):
    """A checked zip and what it unpacks to. sha256: of the zip, in hex."""

    content: bytes
    sha256: str
    unzipped_bytes: int

    @property
    def size_bytes(self) -> int:
        return len(self.content)


async def store(ctx: ControlContext, package: Package) -> None:
    """Puts a package into the package store, safe from clean-up from here on. Raises ServiceException."""
    # One statement, committed by itself: two round trips less in every deployment.
    async with ctx.registry.read() as connection:
        await stored_packages.keep(connection, package.sha256, package.size_bytes, package.unzipped_bytes)
    try:
        await ctx.packages.put(package.content, package.sha256)
    except PackageError as error:
        raise ServiceException("The code package could not be stored. Try again.") from error


async def package_of(ctx: ControlContext, sent: Request, *, of_layer: bool = False) -> Package:
    """The code that a request sends along or names.

    Raises InvalidParameterValueException, RequestEntityTooLargeException, AccessDeniedException (S3 denied it) or
    ServiceException (S3 cannot be reached).
    """
    if sent.get("ImageUri") is not None:
        raise InvalidParameterValueException("Container images are not supported yet: a later release brings them.")
    content, in_s3 = sent.get("ZipFile"), sent.get("S3Bucket") is not None or sent.get("S3Key") is not None
    if content is not None and in_s3:
        raise InvalidParameterValueException("Please do not provide other FunctionCode parameters when providing a ZipFile.")
    if sent.get("S3ObjectStorageMode", "COPY") != "COPY":
        raise InvalidParameterValueException("S3ObjectStorageMode REFERENCE is not supported: code is always copied.")
    if in_s3:
        content = await _from_s3(ctx, sent)
    elif content is None:
        raise InvalidParameterValueException(f"Please provide a source for {'layer' if of_layer else 'function'} code.")
    elif len(content) >= ZIP_UPLOAD_BYTES_MAX:
        raise RequestEntityTooLargeException(f"Zipped size must be smaller than {ZIP_UPLOAD_BYTES_MAX} bytes")
    return await checked(bytes(content))


async def checked(content: bytes) -> Package:
    """A zip that can be unpacked. Raises InvalidParameterValueException for anything else."""
    if not content:
        raise InvalidParameterValueException("Uploaded file must be a non-empty zip")
    if len(content) > CHECK_INLINE_BYTES_MAX:
        unzipped_bytes = await asyncio.to_thread(_checked, content)
    else:
        unzipped_bytes = await _checked_small(content)
    return Package(content, await sha256_of(content), unzipped_bytes)


async def _from_s3(ctx: ControlContext, sent: Request) -> bytes:
    bucket, key = sent.get("S3Bucket"), sent.get("S3Key")
    if bucket is None or key is None:
        raise InvalidParameterValueException("Please provide both S3Bucket and S3Key.")
    try:
        return await ctx.code_source.read(bucket, key, sent.get("S3ObjectVersion"), UNZIPPED_BYTES_MAX)
    except SourceRefusedError as error:
        answer = f"S3 Error Code: {error.code}. S3 Error Message: {error.text}"
        if error.denied:
            raise AccessDeniedException(
                "Your access has been denied by S3, please make sure your request credentials have permission to GetObject "
                f"for {bucket}/{key}. {answer}"
            ) from error
        raise InvalidParameterValueException(f"Error occurred while GetObject. {answer}") from error
    except SourceTooLargeError as error:
        raise InvalidParameterValueException(UNZIPPED_TOO_LARGE) from error
    except SourceUnreachableError as error:
        raise ServiceException(f"The code could not be read from S3: {error}") from error


async def _checked_small(content: bytes) -> int:
    """A small zip may unpack to much: then it is checked in a thread all the same."""
    with _opened(content) as archive:
        unzipped_bytes = _declared_bytes(archive)
        if unzipped_bytes <= CHECK_INLINE_BYTES_MAX:
            _read_through(archive)
        else:
            await asyncio.to_thread(_read_through, archive)
    return unzipped_bytes


def _checked(content: bytes) -> int:
    with _opened(content) as archive:
        unzipped_bytes = _declared_bytes(archive)
        _read_through(archive)
    return unzipped_bytes


def _opened(content: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except UNREADABLE as error:
        raise InvalidParameterValueException(CANNOT_UNZIP) from error


def _declared_bytes(archive: zipfile.ZipFile) -> int:
    entries = archive.infolist()
    unzipped_bytes = sum(entry.file_size for entry in entries)
    if unzipped_bytes >= UNZIPPED_BYTES_MAX:
        raise InvalidParameterValueException(UNZIPPED_TOO_LARGE)
    if len(entries) > ENTRIES_MAX:
        raise InvalidParameterValueException(CANNOT_UNZIP)
    return unzipped_bytes


def _read_through(archive: zipfile.ZipFile) -> None:
    """Sees that every entry unpacks to what its checksum says; no more than the declared sizes is ever unpacked."""
    try:
        damaged = archive.testzip()
    except UNREADABLE as error:
        raise InvalidParameterValueException(CANNOT_UNZIP) from error
    if damaged is not None:
        raise InvalidParameterValueException(CANNOT_UNZIP)
