"""What Secrets Manager tells of the secrets that EventBridge makes for its connections. They are read here and not changed.

Source: recorded answers; "Connections for HTTP endpoint targets" in the EventBridge user guide.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Mapping
from typing import Any

from services.frontend.endpoint.api import Api, Call, Handler
from shared.aws.protocols.protocol import Params
from shared.aws.service_model import load_service_model
from shared.domain.arns import home_of
from shared.domain.errors import UserError
from shared.registry.events import connections
from shared.registry.events.connections import EventConnection
from shared.registry.registry import Registry

SERVICE = "secretsmanager"
CURRENT = "AWSCURRENT"
_SECRET = ":secret:"
_OF_CONNECTIONS = "events!connection/"
_KINDS = {
    "HeaderParameters": "header_parameters",
    "QueryStringParameters": "query_string_parameters",
    "BodyParameters": "body_parameters",
}


class ResourceNotFoundException(UserError):
    code = "ResourceNotFoundException"


def connection_secrets(registry: Registry) -> Api:
    operations: dict[str, Handler] = {
        "DescribeSecret": functools.partial(describe_secret, registry),
        "GetSecretValue": functools.partial(get_secret_value, registry),
    }
    return Api(load_service_model(SERVICE), operations, internal_error="InternalServiceError")


async def get_secret_value(registry: Registry, call: Call, params: Params) -> dict[str, Any]:
    found = await _find(registry, call, params)
    version, stage = params.get("VersionId"), params.get("VersionStage")
    if version not in (None, _version_of(found)) or stage not in (None, CURRENT):
        asked = f"version: {version}" if stage in (None, CURRENT) else f"staging label: {stage}"
        raise ResourceNotFoundException(f"Secrets Manager can't find the specified secret value for {asked}")
    return {
        "ARN": found.secret_arn,
        "CreatedDate": found.modified_ms / 1_000,
        "Name": _name_of(found),
        "SecretString": json.dumps(secret_of(found), separators=(",", ":")),
        "VersionId": _version_of(found),
        "VersionStages": [CURRENT],
    }


async def describe_secret(registry: Registry, call: Call, params: Params) -> dict[str, Any]:
    found = await _find(registry, call, params)
    return {
        "ARN": found.secret_arn,
        "CreatedDate": found.created_ms / 1_000,
        "LastChangedDate": found.modified_ms / 1_000,
        "Name": _name_of(found),
        "OwningService": "events",
        "VersionIdsToStages": {_version_of(found): [CURRENT]},
    }


async def _find(registry: Registry, call: Call, params: Params) -> EventConnection:
    """Raises ResourceNotFoundException."""
    named = params["SecretId"]
    home = home_of(named) if named.startswith("arn:") else call.home
    name = named.partition(_SECRET)[2] if named.startswith("arn:") else named
    if home == call.home and name.startswith(_OF_CONNECTIONS):
        async with registry.read() as read:
            found = await connections.find(read, home, [*name.split("/"), ""][1])
        if found is not None and named in (found.secret_arn, _name_of(found)):
            return found
    raise ResourceNotFoundException("Secrets Manager can't find the specified secret.")


def secret_of(connection: EventConnection) -> dict[str, Any]:
    """What the connection's secret holds."""
    auth = connection.auth
    secret: dict[str, Any] = {}
    if basic := auth.get("BasicAuthParameters"):
        secret |= {"username": basic["Username"], "password": basic.get("Password")}
    if key := auth.get("ApiKeyAuthParameters"):
        secret |= {"api_key_name": key["ApiKeyName"], "api_key_value": key.get("ApiKeyValue")}
    if oauth := auth.get("OAuthParameters"):
        client = oauth["ClientParameters"]
        secret |= {
            "client_id": client["ClientID"],
            "client_secret": client.get("ClientSecret"),
            "authorization_endpoint": oauth["AuthorizationEndpoint"],
            "http_method": oauth["HttpMethod"],
        }
        if "OAuthHttpParameters" in oauth:
            secret["oauth_http_parameters"] = _parameters(oauth["OAuthHttpParameters"])
    if "InvocationHttpParameters" in auth:
        secret["invocation_http_parameters"] = _parameters(auth["InvocationHttpParameters"])
    return {name: value for name, value in secret.items() if value is not None}


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        told: [
            {"key": one["Key"], "value": one.get("Value"), "is_value_secret": one.get("IsValueSecret", False)}
            for one in given[name]
        ]
        for name, told in _KINDS.items()
        if name in given
    }


def _name_of(connection: EventConnection) -> str:
    """Of its secret: the ARN ends in six characters more."""
    return connection.secret_arn.partition(_SECRET)[2].rpartition("-")[0]


def _version_of(connection: EventConnection) -> str:
    """Another one whenever the connection is changed."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{connection.secret_arn}#{connection.modified_ms}"))
