"""One Kafka cluster as a client reaches it: where it is, and who the client says it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

VARIABLES = {
    "bootstrap_servers": "KAFKA_BOOTSTRAP_SERVERS",
    "security_protocol": "KAFKA_SECURITY_PROTOCOL",
    "sasl_mechanism": "KAFKA_SASL_MECHANISM",
    "username": "KAFKA_SASL_USERNAME",
    "password": "KAFKA_SASL_PASSWORD",
    "ca_file": "KAFKA_SSL_CA_FILE",
}
"""Field to the environment variable that tells it."""


class KafkaCluster(BaseModel):
    """username, password: only with a SASL_... protocol. ca_file: PEM of the authorities that sign the brokers' certificates;
    the machine's own by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = Field(min_length=1, description="host:port, several by commas")
    security_protocol: SecurityProtocol = Field("PLAINTEXT", description="how it is spoken to")
    sasl_mechanism: Mechanism = Field("PLAIN", description="how it is told who asks")
    username: str = Field("", description="with a SASL protocol alone")
    password: SecretStr = Field(SecretStr(""), description="the password that goes with it")
    ca_file: Path | None = Field(
        None, description="PEM of the authorities that its certificate is of; the machine's own by default"
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_address(cls, value: object) -> object:
        return {"bootstrap_servers": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _credentials_where_they_belong(self) -> Self:
        given = bool(self.username), bool(self.password.get_secret_value())
        if given != (self.authenticates, self.authenticates):
            raise ValueError(
                f"{self.security_protocol} needs a username and a password"
                if self.authenticates
                else f"a username or a password is given, but with {self.security_protocol} none is sent: name SASL_SSL or "
                "SASL_PLAINTEXT as security protocol"
            )
        return self

    @property
    def authenticates(self) -> bool:
        return self.security_protocol.startswith("SASL")

    def serves(self, bootstrap_servers: str) -> bool:
        """Whether every one of these addresses is one of the cluster's."""
        return _addresses(bootstrap_servers) <= _addresses(self.bootstrap_servers)

    def shares(self, bootstrap_servers: str) -> bool:
        """Whether one of these addresses is one of the cluster's."""
        return bool(_addresses(bootstrap_servers) & _addresses(self.bootstrap_servers))

    def variables(self) -> dict[str, str]:
        """The environment variables that tell a process of this cluster: those of VARIABLES that have something to say."""
        values = (
            self.bootstrap_servers,
            self.security_protocol,
            self.sasl_mechanism if self.authenticates else "",
            self.username,
            self.password.get_secret_value(),
            str(self.ca_file or ""),
        )
        return {variable: value for variable, value in zip(VARIABLES.values(), values, strict=True) if value}

    @classmethod
    def of_variables(cls, variables: Mapping[str, str], prefix: str = "") -> Self:
        """The opposite of `variables`. Raises pydantic.ValidationError."""
        given = {field: variables.get(prefix + variable) for field, variable in VARIABLES.items()}
        return cls.model_validate({field: value for field, value in given.items() if value})


def _addresses(bootstrap_servers: str) -> set[str]:
    return {address.strip().lower().replace("localhost:", "127.0.0.1:") for address in bootstrap_servers.split(",")}
