"""Access tokens of OAuth's client credentials: asked for where a connection says, kept until they expire or are refused.

Source: RFC 6749, section 4.4; "Authorization methods for connections" in the EventBridge user guide.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from services.router.deliveries.api_destinations.invocation import named, with_query
from services.router.deliveries.contract import DeliveryError
from services.router.deliveries.http_requests import HttpRequests
from shared.registry.events.connections import EventConnection

TIMEOUT_S = 5.0
EARLY_S = 30.0
"""So long before it expires a token is not used any more."""
EXPIRES_S_DEFAULT = 3_600.0
TOKENS_MAX = 1_000
CODE = "CONNECTION_FAILURE"
_FORM = "application/x-www-form-urlencoded"


class Token(msgspec.Struct, frozen=True):
    """until: of the monotonic clock."""

    text: str
    until: float


class Tokens:
    """Of the connections used last; each is asked for by one delivery at a time."""

    def __init__(self, requests: HttpRequests) -> None:
        self._requests = requests
        self._kept: dict[tuple[str, int], Token] = {}
        self._asking: dict[tuple[str, int], asyncio.Lock] = {}

    async def of(self, connection: EventConnection) -> str:
        """Raises DeliveryError, UndeliverableError."""
        key = _key(connection)
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                token = self._kept.get(key)
                if token is None or token.until <= time.monotonic():
                    token = await self._ask(connection)
                    self._kept.pop(key, None)
                    self._kept[key] = token
                    while len(self._kept) > TOKENS_MAX:
                        self._kept.pop(next(iter(self._kept)))
        finally:
            if not lock.locked():
                self._asking.pop(key, None)
        return token.text

    def forget(self, connection: EventConnection) -> None:
        self._kept.pop(_key(connection), None)

    async def _ask(self, connection: EventConnection) -> Token:
        oauth = connection.auth["OAuthParameters"]
        method, url, headers, body = _request(oauth)
        answer = await self._requests.send(method, url, headers, body, TIMEOUT_S)
        if not 200 <= answer.status < 300:
            raise DeliveryError(f"{oauth['AuthorizationEndpoint']} answered {answer.status}", CODE)
        try:
            found = json.loads(answer.body)
            text, expires_s = str(found["access_token"]), float(found.get("expires_in") or EXPIRES_S_DEFAULT)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DeliveryError(f"{oauth['AuthorizationEndpoint']} answered without an access token", CODE) from error
        return Token(text, time.monotonic() + max(1.0, expires_s - EARLY_S))


def _request(oauth: Mapping[str, Any]) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """The credentials are parameters like those that the connection names besides: in the query of a GET, else in the body."""
    more = oauth.get("OAuthHttpParameters") or {}
    client = oauth["ClientParameters"]
    credentials = {"client_id": client["ClientID"], "client_secret": client["ClientSecret"]}
    parameters = {"grant_type": "client_credentials", **credentials, **dict(named(more, "BodyParameters"))}
    query = named(more, "QueryStringParameters")
    headers = {name.lower(): (name, value) for name, value in named(more, "HeaderParameters")}
    headers.setdefault("content-type", ("Content-Type", _FORM))
    headers.setdefault("accept", ("Accept", "application/json"))
    url, method = oauth["AuthorizationEndpoint"], oauth["HttpMethod"]
    if method == "GET":
        return method, with_query(url, [*parameters.items(), *query]), list(headers.values()), b""
    as_json = "json" in headers["content-type"][1].lower()
    body = json.dumps(parameters) if as_json else urlencode(parameters)
    return method, with_query(url, query), list(headers.values()), body.encode()


def _key(connection: EventConnection) -> tuple[str, int]:
    """A connection that was changed has another token."""
    return connection.arn, connection.modified_ms
