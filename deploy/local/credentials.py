"""The secrets of one cluster: made at its first start, kept in a file that its owner alone reads."""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared.domain.errors import ConfigurationError

KEY_ID_ALPHABET = string.ascii_uppercase + "234567"
KEY_ID_RANDOM_CHARACTERS = 16


class Credentials(msgspec.Struct, frozen=True):
    """access_key_id, secret_access_key: the root key that signs requests. cluster_secret: proves services to each other."""

    access_key_id: str
    secret_access_key: str
    cluster_secret: str
    redis_password: str
    postgres_password: str
    kafka_password: str = ""  # Clusters of before 0.2 have none.

    @staticmethod
    def new() -> Credentials:
        return Credentials(
            access_key_id="AKIA" + "".join(secrets.choice(KEY_ID_ALPHABET) for _ in range(KEY_ID_RANDOM_CHARACTERS)),
            # The 40 characters that tools expect. No `-`, `_`, `/` or `+`: it is pasted into shells and URLs.
            secret_access_key="".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(40)),
            cluster_secret=secrets.token_hex(32),
            redis_password=secrets.token_hex(16),
            postgres_password=secrets.token_hex(16),
            kafka_password=secrets.token_hex(16),
        )


def load_or_create(path: Path) -> Credentials:
    """The cluster's secrets, made if there are none. Raises ConfigurationError when the file is damaged."""
    found = load(path)
    if found is not None and found.kafka_password:
        return found
    new = Credentials.new()
    made = new if found is None else msgspec.structs.replace(found, kafka_password=new.kafka_password)
    _write_private(path, msgspec.json.format(msgspec.json.encode(made)))
    return made


def load(path: Path) -> Credentials | None:
    """The cluster's secrets, None if it never started. Raises ConfigurationError when the file is damaged or not ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise ConfigurationError(f"{path} belongs to another user; run this as the one that started the cluster.") from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(
            f"{path} is damaged ({error}). Restore it, or remove the whole data directory to begin anew: "
            "without it neither the engines' data nor signed requests can be used."
        ) from error


def save_addresses(path: Path, variables: Mapping[str, str]) -> None:
    """Keep what tells clients of the engines (passwords included) where only we read it."""
    _write_private(path, msgspec.json.format(msgspec.json.encode(dict(variables))))


def load_addresses(path: Path) -> dict[str, str]:
    """Environment variables by name. Raises ConfigurationError when there are none: the cluster never got that far."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error}); start the cluster with `lambdad up`.") from error


def _write_private(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
