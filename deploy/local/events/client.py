"""Signed requests to `/_lambdad/events` of a cluster."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from shared.domain.errors import ConfigurationError

PATH = "/_lambdad/events"
TIMEOUT_S = 90.0

T = TypeVar("T")


class _Error(msgspec.Struct):
    message: str = msgspec.field(default="", name="Message")
    message_too: str = msgspec.field(default="", name="message")


class LedgerClient:
    """environment: what `lambdad env` prints."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._endpoint = environment["AWS_ENDPOINT_URL"].rstrip("/")
        self._region = environment["AWS_REGION"]
        self._key_id = environment["AWS_ACCESS_KEY_ID"]
        self._secret = environment["AWS_SECRET_ACCESS_KEY"]
        # The endpoint is this machine's own: no proxy stands before it.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str, parameters: Mapping[str, str], kind: type[T]) -> T:
        """Raises ConfigurationError with what the endpoint says."""
        query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        return msgspec.json.decode(self._ask("GET", path + query, b""), type=kind)

    def post(self, path: str, document: object, kind: type[T]) -> T:
        """Raises ConfigurationError with what the endpoint says."""
        return msgspec.json.decode(self._ask("POST", path, msgspec.json.encode(document)), type=kind)

    def read(self, path: str) -> bytes:
        """Raises ConfigurationError with what the endpoint says."""
        return self._ask("GET", path, b"")

    def _ask(self, method: str, path: str, body: bytes) -> bytes:
        request = self._signed(method, f"{self._endpoint}{PATH}{path}", body)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                read: bytes = answer.read()
                return read
        except urllib.error.HTTPError as error:
            raise ConfigurationError(_said(error.read()) or f"the endpoint answered {error.code}") from None
        except OSError as error:
            raise ConfigurationError(f"the endpoint {self._endpoint} does not answer: {error}") from None

    def _signed(self, method: str, url: str, body: bytes) -> urllib.request.Request:
        # botocore takes a while to load, and only this command needs it.
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        request: Any = AWSRequest(method=method, url=url, data=body)
        SigV4Auth(Credentials(self._key_id, self._secret), "lambda", self._region).add_auth(request)
        return urllib.request.Request(url, data=body or None, headers=dict(request.headers.items()), method=method)


def _said(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")
    return error.message or error.message_too
