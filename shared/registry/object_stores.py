"""Opens buckets: of the S3-compatible service that the settings name, or folders that stand in for them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from obstore.store import LocalStore, S3Store

from shared.settings import S3Settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CONNECT_TIMEOUT_S = 3.0
RETRIES_MAX = 2
FILE_SCHEME = "file://"


def open_bucket(settings: S3Settings, bucket: str, *, region: str, prefix: str | None = None, within: str = "") -> ObjectStore:
    """A bucket of the S3-compatible service, without asking it. region: where the settings name none.

    within: how the keys begin that are asked for, up to a slash: what has empty parts, which the library takes in no key but
    in a bucket's address.
    What the settings leave out comes from the usual AWS_* variables. Raises obstore's BaseError for settings that cannot be.
    """
    config: dict[str, Any] = {
        "region": settings.region or region,
        "virtual_hosted_style_request": not settings.path_style,
    }
    if settings.endpoint_url and not settings.endpoint_url.startswith(FILE_SCHEME):
        config["endpoint"] = settings.endpoint_url.rstrip("/")
    if within:
        address = f"/{quote(within.removesuffix('/'), safe='/-_.~')}"
        if settings.path_style or "endpoint" not in config:
            config["virtual_hosted_style_request"] = False
            bucket += address
        else:
            config["endpoint"] += address
    if settings.anonymous:
        config["skip_signature"] = True
    elif settings.access_key_id:
        config["access_key_id"] = settings.access_key_id
        config["secret_access_key"] = settings.secret_access_key.get_secret_value()
        if settings.session_token.get_secret_value():
            config["session_token"] = settings.session_token.get_secret_value()
    return S3Store(
        bucket,
        prefix=prefix,
        config=config,  # type: ignore[arg-type]
        client_options={
            "allow_http": settings.endpoint_url.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
            "timeout": timedelta(seconds=settings.timeout_s),
        },
        retry_config={"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=settings.timeout_s)},
    )


def open_folder(folder: Path) -> ObjectStore:
    """A folder as a bucket. Raises BaseError when it is not there."""
    return LocalStore(folder.resolve(), automatic_cleanup=False)
