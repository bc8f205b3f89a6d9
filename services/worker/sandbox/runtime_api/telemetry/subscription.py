"""What an extension asks for when it subscribes: read, and checked, by the rules of AWS's Telemetry and Logs APIs."""

from __future__ import annotations

import enum
from urllib.parse import urlsplit

import msgspec

from services.worker.sandbox.runtime_api.wire import replies

TYPES = ("platform", "function", "extension")
HOSTS = ("sandbox.localdomain", "sandbox")
"""Names of the sandbox itself. Telemetry goes nowhere else."""
ITEMS_MIN, ITEMS_MAX, ITEMS_DEFAULT = 1_000, 10_000, 10_000
BYTES_MIN, BYTES_MAX, BYTES_DEFAULT = 256 * 1024, 1024 * 1024, 256 * 1024
TIMEOUT_MS_MIN, TIMEOUT_MS_MAX, TIMEOUT_MS_DEFAULT = 25, 30_000, 1_000
_PATH_BYTES_MAX = 1_024


class Api(enum.Enum):
    """Which of the two it is, by the name that its errors and log lines have."""

    TELEMETRY = "Telemetry"
    LOGS = "Logs"

    @property
    def schema_versions(self) -> tuple[str, ...]:
        if self is Api.LOGS:
            return ("2020-08-15", "2021-03-18")
        return ("2022-07-01", "2022-12-13", "2025-01-29")


class Subscription(msgspec.Struct, frozen=True):
    """path: None for TCP. method: of HTTP."""

    api: Api
    schema_version: str
    types: tuple[str, ...]
    port: int
    path: str | None
    method: str
    items_max: int
    bytes_max: int
    timeout_s: float

    @property
    def has_json_records(self) -> bool:
        """Lines that are JSON objects, of functions that log so, are objects in here and not texts."""
        return self.api is Api.TELEMETRY and self.schema_version != "2022-07-01"


class _Destination(msgspec.Struct):
    protocol: str = ""
    URI: str = ""
    port: int | None = None
    method: str = "POST"
    encoding: str = "JSON"


class _Buffering(msgspec.Struct):
    maxItems: int = ITEMS_DEFAULT
    maxBytes: int = BYTES_DEFAULT
    timeoutMs: int = TIMEOUT_MS_DEFAULT


class _Body(msgspec.Struct):
    types: list[str] = []
    schemaVersion: str = ""
    destination: _Destination | None = None
    buffering: _Buffering = msgspec.field(default_factory=_Buffering)


def read(api: Api, body: bytes) -> Subscription:
    """Raises ApiError, which tells of everything that is wrong."""
    try:
        asked = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _invalid(api, [str(error)]) from None
    wrong: list[str] = []
    version = asked.schemaVersion or (api.schema_versions[0] if api is Api.LOGS else "")
    if version not in api.schema_versions:
        wrong.append(f"schemaVersion should be one of {', '.join(api.schema_versions)}")
    port, path = _place(asked.destination, wrong)
    if not asked.types:
        wrong.append("types should not be empty")
    wrong += [f"type {each} is not supported" for each in asked.types if each not in TYPES]
    buffering = asked.buffering
    _check_range(wrong, "maxItems", buffering.maxItems, ITEMS_MIN, ITEMS_MAX)
    _check_range(wrong, "maxBytes", buffering.maxBytes, BYTES_MIN, BYTES_MAX)
    _check_range(wrong, "timeoutMs", buffering.timeoutMs, TIMEOUT_MS_MIN, TIMEOUT_MS_MAX)
    if wrong:
        raise _invalid(api, wrong)
    assert asked.destination is not None
    return Subscription(
        api=api,
        schema_version=version,
        types=tuple(each for each in TYPES if each in asked.types),
        port=port,
        path=path,
        method=asked.destination.method,
        items_max=buffering.maxItems,
        bytes_max=buffering.maxBytes,
        timeout_s=buffering.timeoutMs / 1e3,
    )


def _place(destination: _Destination | None, wrong: list[str]) -> tuple[int, str | None]:
    if destination is None:
        wrong.append("destination is not provided")
        return 0, None
    if destination.protocol not in ("HTTP", "TCP"):
        wrong.append("protocol should be HTTP or TCP")
        return 0, None
    if destination.method not in ("POST", "PUT"):
        wrong.append("method should be POST or PUT")
    if destination.protocol == "TCP" and destination.port is not None:
        if not 0 < destination.port < 65_536:
            wrong.append("port should be between 1 and 65535")
        return destination.port, None
    uri = destination.URI
    parts = None
    port: int | None = None
    try:
        parts = urlsplit(uri if "//" in uri else f"//{uri}")
        port = parts.port
    except ValueError:
        wrong.append("URI is not valid")
        return 0, None
    if not uri:
        wrong.append("URI is not provided" if destination.protocol == "HTTP" else "port is not provided")
        return 0, None
    if destination.protocol == "HTTP" and parts.scheme != "http":
        wrong.append("URI scheme should be http")
    if parts.hostname not in HOSTS:
        wrong.append(f"URI host should be {HOSTS[0]}")
    if not port:
        wrong.append("URI port is not provided")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if len(path) > _PATH_BYTES_MAX or not path.isascii() or any(each <= " " or each == "\x7f" for each in path):
        wrong.append("URI path is not valid")
    return port or 0, path if destination.protocol == "HTTP" else None


def _check_range(wrong: list[str], name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        wrong.append(f"{name} should be between {least} and {most}")


def _invalid(api: Api, wrong: list[str]) -> replies.ApiError:
    return replies.ApiError(400, f"{api.value}.ValidationError", "; ".join(wrong))
