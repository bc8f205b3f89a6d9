"""Why a deployment package is not taken. Every part that reads packages raises these and nothing else about what it read."""

from __future__ import annotations

from shared.domain.errors import LambdadError

SHOWN_CHARACTERS_MAX = 120


class PackageRefusedError(LambdadError):
    """The package must not be unpacked, here or anywhere, now or later; the text says why, at a length fit for an answer."""


class PackageUnreadableError(PackageRefusedError):
    """It is no zip archive, or a damaged one."""


class PackageTooLargeError(PackageRefusedError):
    """It unpacks to more bytes than allowed."""


class UnpackError(LambdadError):
    """The package may be sound, but it could not be read or unpacked here and now."""


def shown(name: str) -> str:
    """A name that a stranger chose, as it may stand in a text or a log line."""
    text = ascii(name)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."
