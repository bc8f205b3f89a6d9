"""The one typed settings tree. Every value has its unit in its name and a bound.

Read from the environment: `LAMBDAD_<SECTION>__<NAME>`, e.g. LAMBDAD_WORKER__ENVIRONMENTS_MAX=200. The three engines' addresses
have the names that other tools use: KAFKA_BOOTSTRAP_SERVERS (and what a client needs beside it, KAFKA_SECURITY_PROTOCOL and so
on), REDIS_URL, DATABASE_URL. Queues may have a Redis of their own, QUEUES_REDIS_URL. A variable that is empty says nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, IPvAnyNetwork, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.domain.arns import Home
from shared.domain.limits import TIMEOUT_S_MAX, TIMEOUT_S_MAX_DEFAULT
from shared.settings.kafka import KafkaCluster, Mechanism, SecurityProtocol


class FrontendSettings(BaseModel):
    host: str = "127.0.0.1"
    port: int = Field(9000, ge=0, le=65_535)
    auth: bool = True
    root_access_key_id: str = ""
    root_secret_access_key: SecretStr = SecretStr("")
    connections_max: int = Field(
        1_000, ge=1, description="at the bound the one that waited longest without ever having sent a valid signature is closed"
    )
    connections_per_address_max: int = Field(
        0, ge=0, description="of one client address; 0: as many as in total, for a proxy is one address"
    )
    header_bytes_max: int = Field(32 * 1024, ge=1_024)
    request_header_timeout_s: float = Field(10.0, gt=0)
    request_body_timeout_s: float = Field(60.0, gt=0)
    keep_alive_timeout_s: float = Field(75.0, gt=0)
    queue_wait_s: float = Field(10.0, gt=0, description="longest wait for a worker with room")
    cancel_on_disconnect: bool = Field(
        False, description="end an invocation whose client has closed; by default it runs to its end, as on AWS"
    )
    domain: str = Field(
        "localhost",
        max_length=190,
        pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*$",
        description="what the host names of function URLs end in: all names under it must lead to the endpoint",
    )
    forward_connect_timeout_s: float = Field(5.0, gt=0, description="to reach the endpoint behind a forwarded service")
    forward_idle_timeout_s: float = Field(60.0, gt=0, description="without a byte in either direction")
    forwarded_max: int = Field(200, ge=1, description="requests that are being forwarded at one time")
    block_public_policies: bool = Field(False, description="refuse resource policies that let everybody in")


class FunctionSettings(BaseModel):
    timeout_s_max: int = Field(
        TIMEOUT_S_MAX_DEFAULT, ge=1, le=TIMEOUT_S_MAX, description="the longest Timeout that a function may be given"
    )


class WorkerSettings(BaseModel):
    host: str = Field(
        "127.0.0.1",
        description="address that the dispatch port listens on; `local`: a Unix socket, for callers on this host only",
    )
    advertised_host: str | None = Field(None, description="address that callers dial; the listening one by default")
    port: int = Field(0, ge=0, le=65_535)
    environments_max: int = Field(500, ge=1, le=10_000)
    pool_size: int = Field(4, ge=0, le=64, description="pre-forked sandboxes kept ready, a runtime")
    prestart_runtimes: list[str] = Field(default_factory=lambda: ["python3.12"])
    runtime_dir: Path | None = Field(None, description="where `make setup` put the runtime clients, a folder an interpreter")
    code_cache_bytes_max: int = Field(5 * 1024**3, ge=1024**2)
    log_bytes_a_second_max: int = Field(
        2 * 1024**2,
        ge=1_024,
        description="what a worker keeps of what one function logs, on average; it may save up for eight times as much at once",
    )
    uid_first: int = Field(200_000, ge=1_000)
    uid_count: int = Field(10_000, ge=1)
    allow_missing_limits: list[str] = Field(
        default_factory=list, description="of memory, cpu, pids: limits that this host cannot give and functions run without"
    )
    drain_timeout_s: float = Field(10.0, gt=0)


class DispatchSettings(BaseModel):
    cell: str = Field("0", pattern=r"^[a-z0-9-]{1,32}$", description="the cell (one Redis, its workers)")
    heartbeat_s: float = Field(1.0, gt=0)
    dead_after_s: float = Field(4.0, gt=0)
    connect_timeout_s: float = Field(2.0, gt=0)
    redis_timeout_s: float = Field(2.0, gt=0)
    sticky_ms: int = Field(20, ge=0, le=1_000)
    keep_alive_s: float = Field(600.0, gt=0, description="an environment idle for longer is stopped")
    account_concurrency: int = Field(1_000, ge=1)


class EventSettings(BaseModel):
    topic_prefix: str = "lambdad"
    async_partitions: int = Field(8, ge=1, le=256)
    replication_factor: int = Field(1, ge=1, le=7)
    in_flight_max: int = Field(500, ge=1, description="events a poller runs at once")
    produce_timeout_s: float = Field(10.0, gt=0)
    log_bytes_max: int = Field(
        4 * 1024**3,
        ge=64 * 1024**2,
        description="what the log topic keeps of what functions log, of all of them together: the oldest goes first",
    )
    drain_timeout_s: float = Field(
        6.0, ge=0, description="how long a poller that stops waits for the batches of event source mappings that run"
    )
    retry_delays_s: tuple[int, ...] = Field((60, 120), min_length=1, description="waits before retries of a function error")
    backoff_delays_s: tuple[int, ...] = Field(
        (1, 2, 4, 8, 16, 32, 64, 128, 256, 300), min_length=1, description="waits of an event that could not run"
    )
    kafka_clusters: dict[str, KafkaCluster] = Field(
        default_factory=dict,
        description="name to bootstrap servers, or to an object with bootstrap_servers, security_protocol, sasl_mechanism, "
        "username, password, ca_file; for mappings",
    )
    kafka_networks_allowed: tuple[IPvAnyNetwork, ...] = Field(
        (), description="where self-managed clusters of mappings may be, e.g. 10.1.0.0/16; anywhere when there is none"
    )
    kafka_networks_denied: tuple[IPvAnyNetwork, ...] = Field(
        (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"), IPv6Network("fd00:ec2::/32")),
        description="where they may not be, even if allowed: link-local and metadata addresses by default. The cluster's own "
        "Redis and Postgres never",
    )


class RegistrySettings(BaseModel):
    package_store_url: str = Field("", description="file:///path or s3://bucket/prefix; <data_dir>/packages by default")
    package_grace_s: float = Field(3_600.0, gt=0, description="how long a package that nothing refers to is kept")
    package_cleanup_interval_s: float = Field(600.0, gt=0, description="between two looks for packages that nothing refers to")
    pool_size: int = Field(8, ge=1, le=100)
    query_timeout_s: float = Field(10.0, gt=0)
    cache_entries_max: int = Field(10_000, ge=1)
    cache_ttl_s: float = Field(5.0, gt=0)


class S3Settings(BaseModel):
    """Where code is taken from that a request names by bucket and key, and the service behind an s3:// package store."""

    endpoint_url: str = Field(
        "", description="https://host, http://host:port, or file:///folder whose folders are buckets; <data_dir>/s3 by default"
    )
    region: str = Field("", description="the cluster's own by default")
    access_key_id: str = Field("", description="the usual AWS_* variables by default")
    secret_access_key: SecretStr = SecretStr("")
    session_token: SecretStr = SecretStr("")
    anonymous: bool = Field(False, description="send no signature")
    path_style: bool = Field(True, description="the bucket's name in the path, not in the host name")
    timeout_s: float = Field(20.0, gt=0, le=25, description="to read one package; under what a request may take")


class ForwardSigning(BaseModel):
    """With whose key requests for a forwarded service are signed again. Without it they are passed as clients signed them."""

    access_key_id: str = Field(min_length=1)
    secret_access_key: SecretStr
    session_token: SecretStr = SecretStr("")
    region: str = Field("", description="the cluster's own by default")


class CodeSigningSettings(BaseModel):
    public_keys: dict[str, Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]] = Field(
        default_factory=dict, description="Ed25519 keys (base64 of 32 bytes) that sign packages, by signing profile version ARN"
    )


class TelemetrySettings(BaseModel):
    host: str = Field("127.0.0.1", description="address of the health and metrics port")
    port: int = Field(0, ge=0, le=65_535, description="0 takes a free one")
    log_level: str = "INFO"


class Settings(BaseSettings):
    """Everything a process of this project can be told. Raises pydantic.ValidationError on a value out of bounds."""

    model_config = SettingsConfigDict(
        env_prefix="LAMBDAD_", env_nested_delimiter="__", populate_by_name=True, extra="ignore", env_ignore_empty=True
    )

    data_dir: Path = Path(".lambdad")
    account_id: str = Field("000000000000", pattern=r"^\d{12}$")
    region: str = Field("us-east-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    cluster_secret: SecretStr = SecretStr("")
    instance: str = Field("", description="name of this process in the cluster; made up when empty")
    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS")
    kafka_security_protocol: SecurityProtocol = Field("PLAINTEXT", validation_alias="KAFKA_SECURITY_PROTOCOL")
    kafka_sasl_mechanism: Mechanism = Field("PLAIN", validation_alias="KAFKA_SASL_MECHANISM")
    kafka_sasl_username: str = Field("", validation_alias="KAFKA_SASL_USERNAME")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), validation_alias="KAFKA_SASL_PASSWORD")
    kafka_ssl_ca_file: Path | None = Field(
        None, validation_alias="KAFKA_SSL_CA_FILE", description="PEM; the machine's own authorities by default"
    )
    redis_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")
    queues_redis_url: str = Field(
        "",
        validation_alias="QUEUES_REDIS_URL",
        description="the Redis of queues and topics; REDIS_URL by default",
    )
    database_url: str = Field("postgresql://lambdad@127.0.0.1:5432/lambdad", validation_alias="DATABASE_URL")
    frontend: FrontendSettings = Field(default_factory=FrontendSettings)
    functions: FunctionSettings = Field(default_factory=FunctionSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    dispatch: DispatchSettings = Field(default_factory=DispatchSettings)
    events: EventSettings = Field(default_factory=EventSettings)
    registry: RegistrySettings = Field(default_factory=RegistrySettings)
    s3: S3Settings = Field(default_factory=S3Settings)
    code_signing: CodeSigningSettings = Field(default_factory=CodeSigningSettings)
    forward: dict[str, str] = Field(
        default_factory=dict, description="endpoints of services that are not served here, by service; * for all others"
    )
    forward_sign: dict[str, ForwardSigning] = Field(
        default_factory=dict, description="by service: what its requests are signed with on their way there"
    )
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)

    @property
    def home(self) -> Home:
        """Where requests that name no region are, and what an earlier version left without one."""
        return Home(self.account_id, self.region)

    @property
    def kafka(self) -> KafkaCluster:
        """The cluster that holds events, outcomes and logs: what no setting names otherwise."""
        return KafkaCluster(
            bootstrap_servers=self.kafka_bootstrap_servers,
            security_protocol=self.kafka_security_protocol,
            sasl_mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_sasl_username,
            password=self.kafka_sasl_password,
            ca_file=self.kafka_ssl_ca_file,
        )

    def named_kafka(self, bootstrap_servers: str) -> KafkaCluster | None:
        """The cluster at these addresses, where it is one that the settings name."""
        named = (self.kafka, *self.events.kafka_clusters.values())
        return next((cluster for cluster in named if cluster.serves(bootstrap_servers)), None)

    def kafka_at(self, bootstrap_servers: str) -> KafkaCluster:
        """The cluster at these addresses: with its credentials where the settings name it."""
        return self.named_kafka(bootstrap_servers) or KafkaCluster(bootstrap_servers=bootstrap_servers)

    @property
    def queues_url(self) -> str:
        """The Redis of queues and topics: their own, or that of the leases."""
        return self.queues_redis_url or self.redis_url
