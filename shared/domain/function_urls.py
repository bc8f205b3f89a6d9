"""Function URLs: their settings, their ids and their host names."""

from __future__ import annotations

import hmac
import re
import secrets
import string
from typing import Any

import msgspec

URL_ID_CHARACTERS = 32
RANDOM_CHARACTERS = 20
"""Of an id; 103 bits. The rest proves that the id was made by a cluster with the same secret."""
ALPHABET = string.ascii_lowercase + string.digits
NONE, AWS_IAM = "NONE", "AWS_IAM"
BUFFERED, RESPONSE_STREAM = "BUFFERED", "RESPONSE_STREAM"
PATH_PREFIX = "/_lambdad/urls/"
"""Of a URL's other form, `<endpoint>/_lambdad/urls/<url-id>/<path>`: for clients that cannot resolve its name."""
_PATH = PATH_PREFIX.encode()


class Cors(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """As its owner set it; None for what was left out, which a reply does not show."""

    allow_credentials: bool | None = None
    allow_headers: tuple[str, ...] | None = None
    allow_methods: tuple[str, ...] | None = None
    allow_origins: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] | None = None
    max_age: int | None = None

    def members(self) -> dict[str, Any]:
        """By the service model's names."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


class FunctionUrl(msgspec.Struct, frozen=True):
    """qualifier: an alias, or `$LATEST` for the function itself. Times in microseconds since 1970, as replies show them."""

    function_id: str
    qualifier: str
    url_id: str
    auth_type: str
    invoke_mode: str
    cors: Cors | None
    created_us: int
    modified_us: int


def new_url_id(secret: bytes) -> str:
    """32 lower-case letters and digits that nobody can guess."""
    head = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return head + _proof(secret, head)


def is_ours(secret: bytes, url_id: str) -> bool:
    """Whether an id was made with this secret, be its URL there or gone. AWS, too, tells ids that it never gave from those."""
    head = url_id[:RANDOM_CHARACTERS]
    return len(url_id) == URL_ID_CHARACTERS and hmac.compare_digest(_proof(secret, head).encode(), url_id[len(head) :].encode())


def _proof(secret: bytes, head: str) -> str:
    number = int.from_bytes(hmac.digest(secret, b"function url\n" + head.encode(), "sha256"))
    characters = []
    for _ in range(URL_ID_CHARACTERS - RANDOM_CHARACTERS):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)


def of_path(raw_path: bytes) -> tuple[str, bytes] | None:
    """(url id, path that the function sees) of a path as it is on the wire; None where it names no URL."""
    if not raw_path.startswith(_PATH):
        return None
    url_id, _, rest = raw_path[len(_PATH) :].partition(b"/")
    return url_id.decode("latin-1"), b"/" + rest


class UrlHosts:
    """The host names of function URLs: `<url-id>.lambda-url.<region>.<domain>`."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        # Any region: a name of one that has no such URL is answered as an unknown URL and never taken for the API.
        self._host = re.compile(
            rb"([a-z0-9-]{1,63})\.lambda-url\.([a-z0-9-]{1,63})\.%b(?::\d{1,5})?" % re.escape(domain).encode(), re.IGNORECASE
        )
        self._shortest = len(f"k.lambda-url.r.{domain}")

    def name(self, url_id: str, region: str) -> str:
        return f"{url_id}.lambda-url.{region}.{self._domain}"

    def url(self, url_id: str, region: str, port: int) -> str:
        """The address in the API's answers."""
        return f"http://{self.name(url_id, region)}:{port}/"

    def match(self, host: bytes) -> tuple[str, str] | None:
        """The id and the region in a Host header; None for a host that is not a function URL's."""
        # Asked before every invocation by the API, too, whose own names are shorter: that has to cost next to nothing.
        if len(host) < self._shortest:
            return None
        found = self._host.fullmatch(host)
        if found is None:
            return None
        return found[1].decode().lower(), found[2].decode().lower()
