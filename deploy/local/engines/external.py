"""An engine that the operator runs: named by a LAMBDAD_ variable, neither started nor stopped here."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import ValidationError

from deploy.local.engines import PROBE_TIMEOUT_S
from shared.domain.errors import ConfigurationError
from shared.settings.kafka import VARIABLES as KAFKA_VARIABLES
from shared.settings.kafka import KafkaCluster

PREFIX = "LAMBDAD_"
"""Without it, an application's own DATABASE_URL, or what `lambdad env` of another cluster told a shell, would be taken."""
ADDRESSES = {
    "redis": "REDIS_URL",
    "postgres": "DATABASE_URL",
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "queues": "QUEUES_REDIS_URL",
}
"""Engine to the variable that holds its address for clients and services. Queues: a second Redis, only where one is named."""
CLIENT_VARIABLES = (*ADDRESSES.values(), *KAFKA_VARIABLES.values())
DEFAULT_PORTS = {"redis": 6379, "queues": 6379, "postgres": 5432, "kafka": 9092}


class ExternalEngine:
    """variables: what tells clients of it."""

    def __init__(self, name: str, variables: Mapping[str, str]) -> None:
        self.name = name
        self.variables = dict(variables)

    def problem(self) -> str | None:
        """None when something accepts connections at the (first) address; the services find out the rest."""
        host, port = self._address()
        try:
            with socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S):
                return None
        except OSError as error:
            return f"{PREFIX}{ADDRESSES[self.name]} names {host}:{port}, but: {error.strerror or error}"

    @property
    def port(self) -> int:
        return self._address()[1]

    @property
    def place(self) -> str:
        """Where it is, without a password."""
        host, port = self._address()
        return f"{host}:{port}"

    def _address(self) -> tuple[str, int]:
        first = self.variables[ADDRESSES[self.name]].split(",")[0]
        parts = urlsplit(first if "://" in first else f"//{first}")
        return parts.hostname or "127.0.0.1", parts.port or DEFAULT_PORTS[self.name]


def external_engine(name: str, environment: Mapping[str, str]) -> ExternalEngine | None:
    """The engine that this environment names, if it does. Raises ConfigurationError when it does so half."""
    variable = ADDRESSES[name]
    address = environment.get(PREFIX + variable)
    if not address:
        return None
    if name != "kafka":
        return ExternalEngine(name, {variable: address})
    try:
        return ExternalEngine(name, KafkaCluster.of_variables(environment, PREFIX).variables())
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'together'}: {each['msg']}" for each in error.errors())
        raise ConfigurationError(f"{PREFIX}KAFKA_... do not name a Kafka: {problems}.") from error


def ignored(name: str, environment: Mapping[str, str], own: Mapping[str, str]) -> str | None:
    """What to tell a person whose environment has an engine's address under the name that is not for us; None otherwise.

    own: variables of the cluster itself, which a shell may have from it."""
    variable = ADDRESSES[name]
    given = environment.get(variable)
    if not given or given == own.get(variable) or environment.get(PREFIX + variable):
        return None
    return f"{variable} of the environment is not used: this cluster has its own {name}; {PREFIX}{variable} would name another"
