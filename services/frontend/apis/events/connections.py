"""Connections: how API destinations are to be authorized at. Secrets are kept and never shown."""

from __future__ import annotations

import secrets
import string
import uuid
from typing import Any

import msgspec

from services.frontend.apis.events import addresses, pages
from services.frontend.apis.events.context import EventsContext, Reply
from services.frontend.apis.events.errors import (
    LimitExceededException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
)
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ValidationException
from shared.registry.events import connections
from shared.registry.events.buses import now_ms
from shared.registry.events.connections import AUTHORIZED, AUTHORIZING, DEAUTHORIZED, OAUTH, EventConnection

CONNECTIONS_MAX = 3_000
PARAMETERS = {"BASIC": "BasicAuthParameters", "API_KEY": "ApiKeyAuthParameters", OAUTH: "OAuthParameters"}
NEEDED = {
    "BASIC": ("Username", "Password"),
    "API_KEY": ("ApiKeyName", "ApiKeyValue"),
    OAUTH: ("AuthorizationEndpoint", "ClientParameters", "HttpMethod"),
}
SECRETS = frozenset({"ApiKeyValue", "Password", "ClientSecret"})
_SUFFIX = string.ascii_letters + string.digits


async def create_connection(ctx: EventsContext, call: Call, params: Params) -> Reply:
    at = now_ms()
    _check(params, params["AuthorizationType"], params["AuthParameters"])
    made = EventConnection(
        call.home,
        params["Name"],
        str(uuid.uuid4()),
        f"{uuid.uuid4()}-{''.join(secrets.choice(_SUFFIX) for _ in range(6))}",
        params["AuthorizationType"],
        params["AuthParameters"],
        _settings(params),
        _state(params["AuthorizationType"]),
        at,
        at,
        at,
    )
    async with ctx.registry.write() as connection:
        if await connections.find(connection, call.home, made.name, lock=True) is not None:
            raise ResourceAlreadyExistsException(f"Connection {made.name} already exists.")
        if await connections.count(connection, call.home) >= CONNECTIONS_MAX:
            raise LimitExceededException
        await connections.put(connection, made)
    return {name: value for name, value in _told(made).items() if name != "LastAuthorizedTime"}


async def update_connection(ctx: EventsContext, call: Call, params: Params) -> Reply:
    at = now_ms()
    async with ctx.registry.write() as connection:
        held = await _locked(connection, call, params["Name"], "update")
        kind = params.get("AuthorizationType", held.kind)
        auth = _merged(held.auth if kind == held.kind else {}, params.get("AuthParameters") or {})
        _check(params, kind, auth)
        made = msgspec.structs.replace(
            held,
            kind=kind,
            auth=auth,
            settings={**_settings(held.settings), **_settings(params)},
            state=_state(kind),
            modified_ms=at,
            authorized_ms=at,
        )
        await connections.put(connection, made)
    return _told(made)


async def deauthorize_connection(ctx: EventsContext, call: Call, params: Params) -> Reply:
    """Its secrets are forgotten."""
    async with ctx.registry.write() as connection:
        held = await _locked(connection, call, params["Name"], "deauthorize")
        made = msgspec.structs.replace(held, auth=shown_auth(held.auth), state=DEAUTHORIZED, modified_ms=now_ms())
        await connections.put(connection, made)
    return {**_told(made), "ConnectionState": "DEAUTHORIZING"}


async def delete_connection(ctx: EventsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.write() as connection:
        held = await _locked(connection, call, params["Name"], "delete")
        await connections.remove(connection, held)
    return {**_told(held), "ConnectionState": "DELETING"}


async def describe_connection(ctx: EventsContext, call: Call, params: Params) -> Reply:
    async with ctx.registry.read() as connection:
        held = await connections.find(connection, call.home, params["Name"])
    if held is None:
        raise _missing("describe", params["Name"])
    return {
        **_told(held),
        **held.settings,
        "AuthParameters": shown_auth(held.auth),
        "AuthorizationType": held.kind,
        "Name": held.name,
        "SecretArn": held.secret_arn,
    }


async def list_connections(ctx: EventsContext, call: Call, params: Params) -> Reply:
    limit, prefix, state = pages.size(params), params.get("NamePrefix", ""), params.get("ConnectionState")
    async with ctx.registry.read() as connection:
        found = await connections.page(connection, call.home, prefix, state, pages.after(params), limit + 1)
    return pages.page("Connections", found, limit, lambda held: held.name, _listed)


def _listed(held: EventConnection) -> Reply:
    return {**_told(held), "AuthorizationType": held.kind, "Name": held.name}


def _told(held: EventConnection) -> Reply:
    return {
        "ConnectionArn": held.arn,
        "ConnectionState": held.state,
        "CreationTime": held.created_ms / 1_000,
        "LastAuthorizedTime": held.authorized_ms / 1_000,
        "LastModifiedTime": held.modified_ms / 1_000,
    }


def shown_auth(auth: dict[str, Any]) -> dict[str, Any]:
    """Without the secrets."""
    shown: dict[str, Any] = {}
    for name, value in auth.items():
        if name in SECRETS:
            continue
        if isinstance(value, dict):
            shown[name] = shown_auth(value)
        elif isinstance(value, list):
            shown[name] = [
                {key: part for key, part in one.items() if key != "Value" or not one.get("IsValueSecret")} for one in value
            ]
        else:
            shown[name] = value
    return shown


def _merged(held: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    merged = dict(held)
    for name, value in given.items():
        known = merged.get(name)
        merged[name] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _check(params: Params, kind: str, auth: dict[str, Any]) -> None:
    """That whoever invokes by the connection will find what its kind needs. Raises ValidationException."""
    if params.get("InvocationConnectivityParameters") or auth.get("ConnectivityParameters"):
        raise ValidationException("Connections to private networks are not available here: there is no VPC Lattice.")
    parameters = auth.get(PARAMETERS[kind]) or {}
    missing = [PARAMETERS[kind]] if not parameters else [name for name in NEEDED[kind] if not parameters.get(name)]
    if missing:
        raise ValidationException(f"Parameter AuthParameters is not valid. Reason: {missing[0]} must be specified for {kind}.")
    if kind == OAUTH:
        addresses.check(parameters["AuthorizationEndpoint"], "AuthorizationEndpoint")


def _settings(params: Params) -> dict[str, Any]:
    return {name: params[name] for name in ("Description", "KmsKeyIdentifier") if name in params}


def _state(kind: str) -> str:
    """A router asks the authorization server (services/router/events/authorizer.py)."""
    return AUTHORIZING if kind == OAUTH else AUTHORIZED


async def _locked(connection: Any, call: Call, name: str, verb: str) -> EventConnection:
    held = await connections.find(connection, call.home, name, lock=True)
    if held is None:
        raise _missing(verb, name)
    return held


def _missing(verb: str, name: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Failed to {verb} the connection(s). Connection '{name}' does not exist.")
