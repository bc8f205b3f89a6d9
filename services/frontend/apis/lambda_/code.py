"""The code of a request: a zip, sent along or taken from S3, that can be unpacked within AWS's limits; and then stored."""

from __future__ import annotations

import msgspec

from services.frontend.apis.lambda_.context import ControlContext, Request
from shared.domain.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    RequestEntityTooLargeException,
    ServiceException,
)
from shared.domain.limits import UNZIPPED_BYTES_MAX, ZIP_UPLOAD_BYTES_MAX
from shared.packages.reader import PackageReader
from shared.packages.refusals import PackageRefusedError, PackageTooLargeError, PackageUnreadableError
from shared.registry import stored_packages
from shared.registry.code_sources import SourceRefusedError, SourceTooLargeError, SourceUnreachableError
from shared.registry.packages import PackageError, sha256_of

EMPTY = "Uploaded file must be a non-empty zip"
CANNOT_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."
UNZIPPED_TOO_LARGE = f"Unzipped size must be smaller than {UNZIPPED_BYTES_MAX} bytes"
_READER = PackageReader()


class Package(msgspec.Struct, frozen=True):
    """A checked zip and what it unpacks to. sha256: of the zip, in hex. entries: files, links and directories."""

    content: bytes
    sha256: str
    unzipped_bytes: int
    entries: int

    @property
    def size_bytes(self) -> int:
        return len(self.content)


async def store(ctx: ControlContext, package: Package) -> None:
    """Puts a package into the package store, safe from clean-up from here on. Raises ServiceException."""
    # One statement, committed by itself: two round trips less in every deployment.
    async with ctx.registry.read() as connection:
        await stored_packages.keep(
            connection,
            package.sha256,
            size_bytes=package.size_bytes,
            unzipped_bytes=package.unzipped_bytes,
            entries=package.entries,
        )
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
    """A zip that workers will unpack. Raises InvalidParameterValueException for anything else."""
    if not content:
        raise InvalidParameterValueException(EMPTY)
    try:
        contents = await _READER.check(content, UNZIPPED_BYTES_MAX - 1)
    except PackageTooLargeError as error:
        raise InvalidParameterValueException(UNZIPPED_TOO_LARGE) from error
    except PackageUnreadableError as error:
        raise InvalidParameterValueException(CANNOT_UNZIP) from error
    except PackageRefusedError as error:
        # AWS's text has no reason; what is only our rule needs one.
        raise InvalidParameterValueException(f"{CANNOT_UNZIP} Reason: {error}.") from error
    if not contents.entries:
        raise InvalidParameterValueException(EMPTY)
    return Package(content, await sha256_of(content), contents.unzipped_bytes, contents.entries)


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
