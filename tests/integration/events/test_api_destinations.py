"""API destinations as targets: what their address gets, with which rights, how often, and what follows from its answers."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from services.router.deliveries.api_destinations.rates import Rates
from services.router.deliveries.api_destinations.tokens import Tokens
from services.router.deliveries.contract import DeliveryError, TargetBusyError, TargetMissingError, UndeliverableError
from services.router.deliveries.http_requests import HttpRequests
from services.router.deliveries.to_api_destination import ToApiDestination
from services.router.events.authorizer import Authorizer
from shared.domain.arns import Home
from shared.events.records import ApiDestinationParameters, Behalf, Delivery
from shared.registry.events import connections
from shared.registry.events.connections import AUTHORIZED, AUTHORIZING, DEAUTHORIZED, OAUTH, ApiDestination, EventConnection
from shared.registry.registry import Registry
from tests.conftest import Engines
from tests.integration.http_listener import Listener
from tests.integration.registry.support import new_database, settings_of

HOME = Home("000000000000", "us-east-1")
BASIC = {"BasicAuthParameters": {"Username": "user", "Password": "pass"}}


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener().listening() as found:
        yield found


class World:
    """requests, tokens, deliverer: those of one router."""

    def __init__(self, registry: Registry, requests: HttpRequests) -> None:
        self.registry = registry
        self.tokens = Tokens(requests)
        self.deliverer = ToApiDestination(registry, HOME.account_id, requests, self.tokens)

    async def connection(self, kind: str, auth: dict[str, Any], state: str = AUTHORIZED) -> EventConnection:
        made = EventConnection(HOME, uuid.uuid4().hex, str(uuid.uuid4()), "s", kind, auth, {}, state, 1, 1, 1)
        async with self.registry.write() as write:
            await connections.put(write, made)
        return made

    async def destination(self, connection: EventConnection, endpoint: str, **more: Any) -> str:
        """Its ARN."""
        settings = {"ConnectionArn": connection.arn, "InvocationEndpoint": endpoint, "HttpMethod": "POST", **more}
        settings = {"InvocationRateLimitPerSecond": 300, **settings}
        made = ApiDestination(HOME, uuid.uuid4().hex, str(uuid.uuid4()), settings, 1, 1)
        async with self.registry.write() as write:
            await connections.put_destination(write, made)
        return made.arn

    async def deliver(self, arn: str, payload: bytes = b"{}", **parameters: Any) -> None:
        delivery = Delivery("d", Behalf.EVENTS, "rule", "o", arn, payload, 1)
        given = ApiDestinationParameters(**parameters)
        await self.deliverer.deliver(msgspec.structs.replace(delivery, parameters=given))

    async def state(self, connection: EventConnection) -> tuple[str, str]:
        async with self.registry.read() as read:
            found = await connections.find(read, HOME, connection.name)
        assert found is not None
        return found.state, found.settings.get("StateReason", "")


@pytest_asyncio.fixture
async def world(engines: Engines, tmp_path: Path) -> AsyncIterator[World]:
    async with new_database(engines.database_url) as url:
        settings = settings_of(url, tmp_path)
        registry, requests = Registry(settings), HttpRequests(settings)
        await registry.migrate()
        await registry.open()
        try:
            yield World(registry, requests)
        finally:
            await requests.close()
            await registry.close()


def oauth(listener: Listener, **more: Any) -> dict[str, Any]:
    client = {"ClientID": "me", "ClientSecret": "secret"}
    found = {"AuthorizationEndpoint": f"{listener.address}/token", "ClientParameters": client, "HttpMethod": "POST", **more}
    return {"OAuthParameters": found}


def answered(token: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps({"access_token": token, "token_type": "Bearer", **more}).encode()


async def test_a_request_has_what_target_connection_and_destination_say(world: World, listener: Listener) -> None:
    http = {
        "HeaderParameters": [
            {"Key": "X-Both", "Value": "connection"},
            {"Key": "X-Secret", "Value": "s", "IsValueSecret": True},
        ],
        "QueryStringParameters": [{"Key": "q", "Value": "a b"}],
        "BodyParameters": [{"Key": "added", "Value": "yes"}],
    }
    connection = await world.connection("BASIC", {**BASIC, "InvocationHttpParameters": http})
    arn = await world.destination(connection, f"{listener.address}/orders/*/items/*?fixed=1", HttpMethod="PUT")
    headers, query = (("X-Both", "target"), ("X-Own", "1"), ("Host", "elsewhere")), (("t", "ü"),)
    await world.deliver(arn, b'{"n":1}', path_values=("a/b", "7"), headers=headers, query=query)
    request = listener.next()
    assert (request.method, request.path) == ("PUT", "/orders/a%2Fb/items/7?fixed=1&t=%C3%BC&q=a+b")
    assert request.json == {"n": 1, "added": "yes"}
    expected = {
        "authorization": f"Basic {base64.b64encode(b'user:pass').decode()}",
        "content-type": "application/json; charset=utf-8",
        "user-agent": "Amazon/EventBridge/ApiDestinations",
        "x-both": "connection",
        "x-own": "1",
        "x-secret": "s",
        "host": listener.address.removeprefix("http://"),
    }
    assert {name: request.headers.get(name) for name in expected} == expected


async def test_a_key_is_a_header_and_a_get_has_no_body(world: World, listener: Listener) -> None:
    connection = await world.connection("API_KEY", {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "k"}})
    await world.deliver(await world.destination(connection, listener.address, HttpMethod="GET"), b'{"n":1}')
    request = listener.next()
    assert (request.method, request.path, request.headers["x-key"], request.body) == ("GET", "/", "k", b"")


async def test_a_token_is_asked_for_once_and_again_when_it_is_refused(world: World, listener: Listener) -> None:
    body = {"BodyParameters": [{"Key": "scope", "Value": "orders"}], "HeaderParameters": [{"Key": "X-T", "Value": "1"}]}
    connection = await world.connection(OAUTH, oauth(listener, OAuthHttpParameters=body))
    arn = await world.destination(connection, f"{listener.address}/in")
    listener.answers = [answered("one", expires_in=3_600), (200, {}, b""), (401, {}, b"")]
    await world.deliver(arn)
    with pytest.raises(DeliveryError) as caught:
        await world.deliver(arn)
    assert not isinstance(caught.value, UndeliverableError)
    listener.answers = [answered("two")]
    await world.deliver(arn)
    asked, first, refused, again, last = (listener.next() for _ in range(5))
    assert asked.path == again.path == "/token"
    assert asked.headers["x-t"] == "1"
    assert asked.body == b"grant_type=client_credentials&client_id=me&client_secret=secret&scope=orders"
    assert [each.headers["authorization"] for each in (first, refused, last)] == ["Bearer one", "Bearer one", "Bearer two"]


async def test_a_token_that_is_about_to_expire_is_not_used(world: World, listener: Listener) -> None:
    connection = await world.connection(OAUTH, oauth(listener, HttpMethod="GET"))
    listener.answers = [answered("short", expires_in=1)]
    assert await world.tokens.of(connection) == "short"
    assert "client_secret=secret" in listener.next().path
    time_left = next(iter(world.tokens._kept.values())).until - time.monotonic()
    assert time_left <= 1.0


@pytest.mark.parametrize(
    ("answer", "state"),
    [(answered("t"), AUTHORIZED), ((400, {}, b""), DEAUTHORIZED), ((200, {}, b"[]"), DEAUTHORIZED)],
    ids=["a token", "refused", "no token"],
)
async def test_a_connection_is_authorized_before_anybody_needs_it(
    world: World, listener: Listener, answer: tuple[int, dict[str, str], bytes], state: str
) -> None:
    connection = await world.connection(OAUTH, oauth(listener), AUTHORIZING)
    listener.answers = [answer]
    authorizer = Authorizer(world.registry, HOME.account_id, world.tokens, 0.0)
    assert await authorizer.authorize_waiting() == 1
    found, reason = await world.state(connection)
    assert found == state
    assert bool(reason) == (state == DEAUTHORIZED)
    assert await authorizer.authorize_waiting() == 0


@pytest.mark.parametrize(
    ("status", "headers", "undeliverable", "after_s"),
    [
        (429, {"Retry-After": "7"}, False, 7),
        (503, {"Retry-After": "soon"}, False, 0),
        (503, {"Retry-After": "-1"}, True, 0),
        (409, {}, False, 0),
        (401, {}, False, 0),
        (404, {}, True, 0),
        (302, {"Location": "/other"}, True, 0),
    ],
)
async def test_what_follows_from_an_answer(
    world: World, listener: Listener, status: int, headers: dict[str, str], undeliverable: bool, after_s: float
) -> None:
    arn = await world.destination(await world.connection("BASIC", BASIC), listener.address)
    listener.answers = [(status, headers, b"")]
    with pytest.raises(DeliveryError) as caught:
        await world.deliver(arn)
    assert isinstance(caught.value, UndeliverableError) == undeliverable
    assert caught.value.after_s == after_s
    assert listener.next().method == "POST"
    assert listener.nothing_left()


async def test_a_destination_that_was_asked_too_often_has_to_wait(world: World, listener: Listener) -> None:
    arn = await world.destination(await world.connection("BASIC", BASIC), listener.address, InvocationRateLimitPerSecond=1)
    await world.deliver(arn)
    assert listener.next().method == "POST"
    # Nothing is left of many seconds.
    world.deliverer._rates._left[arn] = (-1_000.0, time.monotonic())
    with pytest.raises(TargetBusyError):
        await world.deliver(arn)
    assert listener.nothing_left()


def test_a_rate_is_kept_and_what_is_unused_does_not_add_up() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert [rates.take("a", 2) for _ in range(3)] == [0, 0, 0.5]
    assert rates.take("b", 2) == 0
    now[0] = 0.5
    assert [rates.take("a", 2) for _ in range(2)] == [0, 0.5]
    now[0] = 100
    assert [rates.take("a", 2) for _ in range(3)] == [0, 0, 0.5]


async def test_what_is_gone_is_missing(world: World, listener: Listener) -> None:
    connection = await world.connection("BASIC", BASIC)
    arn = await world.destination(connection, listener.address)
    async with world.registry.write() as write:
        await connections.remove(write, connection)
    for target in (arn, arn[:-36] + str(uuid.uuid4()), arn.replace("us-east-1", "eu-west-1")):
        with pytest.raises(TargetMissingError):
            await world.deliver(target)
