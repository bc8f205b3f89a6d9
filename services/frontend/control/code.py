"""The code of a request: a zip that can be unpacked within AWS's limits, and then stored."""

from __future__ import annotations

import asyncio
import io
import lzma
import struct
import zipfile
import zlib

from services.frontend.control.context import ControlContext, Request
from shared.domain.errors import InvalidParameterValueException, RequestEntityTooLargeException, ServiceException
from shared.domain.limits import UNZIPPED_BYTES_MAX, ZIP_UPLOAD_BYTES_MAX
from shared.registry.packages import PackageError

CHECK_INLINE_BYTES_MAX = 64 * 1024
"""Packages that unpack to more than this are checked in a thread."""
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


async def store(ctx: ControlContext, package: bytes) -> tuple[str, int]:
    """(SHA-256 in hex, size) of a checked package, now in the package store. Raises ServiceException."""
    try:
        return await ctx.packages.put(package), len(package)
    except PackageError as error:
        raise ServiceException("The code package could not be stored. Try again.") from error


async def checked_zip(code: Request) -> bytes:
    """The zip of a request's code. Raises InvalidParameterValueException or RequestEntityTooLargeException."""
    if code.get("ImageUri") is not None:
        raise InvalidParameterValueException("Container images are not supported yet: a later release brings them.")
    if code.get("S3Bucket") is not None or code.get("S3Key") is not None:
        raise InvalidParameterValueException("Code from S3 is not supported yet: a later release brings it. Send ZipFile.")
    package = code.get("ZipFile")
    if package is None:
        raise InvalidParameterValueException("Please provide a source for function code.")
    if len(package) >= ZIP_UPLOAD_BYTES_MAX:
        raise RequestEntityTooLargeException(f"Zipped size must be smaller than {ZIP_UPLOAD_BYTES_MAX} bytes")
    if not package:
        raise InvalidParameterValueException("Uploaded file must be a non-empty zip")
    await _check(bytes(package))
    return bytes(package)


async def _check(package: bytes) -> None:
    try:
        archive = zipfile.ZipFile(io.BytesIO(package))
    except UNREADABLE as error:
        raise InvalidParameterValueException(CANNOT_UNZIP) from error
    with archive:
        entries = archive.infolist()
        unzipped = sum(entry.file_size for entry in entries)
        if unzipped >= UNZIPPED_BYTES_MAX:
            raise InvalidParameterValueException(f"Unzipped size must be smaller than {UNZIPPED_BYTES_MAX} bytes")
        if len(entries) > ENTRIES_MAX:
            raise InvalidParameterValueException(CANNOT_UNZIP)
        readable = _readable(archive) if unzipped <= CHECK_INLINE_BYTES_MAX else await asyncio.to_thread(_readable, archive)
    if not readable:
        raise InvalidParameterValueException(CANNOT_UNZIP)


def _readable(archive: zipfile.ZipFile) -> bool:
    """Whether every entry unpacks to what its checksum says; no more than the declared sizes is ever unpacked."""
    try:
        return archive.testzip() is None
    except UNREADABLE:
        return False
