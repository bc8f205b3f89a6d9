"""Signed requests to `/_lambdad/events` of a cluster."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from shared.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from botocore.credentials import Credentials

PATH = "/_lambdad/events"
TIMEOUT_S = 90.0

T = TypeVar("T")


class _Error(msgspec.Struct):
    message: str = msgspec.field(default="", name="Message")
    message_too: str = msgspec.field(default="", name="message")


class LedgerClient:
    def __init__(self, endpoint: str, region: str, credentials: Credentials) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._region = region
        self._credentials = credentials
        # The endpoint is this machine's own: no proxy stands before it.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """environment: what `lambdad env` prints."""
        from botocore.credentials import Credentials

        key = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        return cls(environment["AWS_ENDPOINT_URL"], environment["AWS_REGION"], key)

    @classmethod
    def by_aws_configuration(cls, endpoint: str, region: str | None) -> Self:
        """Keys as AWS's tools find them: variables, profiles, session tokens; the region too, where it is None. Raises
        ConfigurationError."""
        from botocore.exceptions import BotoCoreError
        from botocore.session import get_session

        try:
            session = get_session()
            region, found = region or session.get_config_variable("region"), session.get_credentials()
            if not region or found is None:
                raise ConfigurationError(f"no region or no keys for {endpoint}: set AWS_REGION and a key, or a profile")
            return cls(endpoint, region, found)
        except BotoCoreError as error:
            raise ConfigurationError(f"no keys for {endpoint}: {error}") from None

    def get(self, path: str, parameters: Mapping[str, str], kind: type[T]) -> T:
        """Raises ConfigurationError with what the endpoint says."""
        query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        return msgspec.json.decode(self._ask("GET", path + query, b""), type=kind)

    def post(self, path: str, document: object, kind: type[T], *, timeout_s: float = TIMEOUT_S) -> T:
        """Raises ConfigurationError with what the endpoint says."""
        return msgspec.json.decode(self._ask("POST", path, msgspec.json.encode(document), timeout_s), type=kind)

    def read(self, path: str) -> bytes:
        """Raises ConfigurationError with what the endpoint says."""
        return self._ask("GET", path, b"")

    def _ask(self, method: str, path: str, body: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
        request = self._signed(method, f"{self._endpoint}{PATH}{path}", body)
        try:
            with self._opener.open(request, timeout=timeout_s) as answer:
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

        request: Any = AWSRequest(method=method, url=url, data=body)
        SigV4Auth(self._credentials, "lambda", self._region).add_auth(request)
        return urllib.request.Request(url, data=body or None, headers=dict(request.headers.items()), method=method)


def _said(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")
    return error.message or error.message_too
