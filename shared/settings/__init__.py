"""The one typed settings tree. Every value has its unit in its name and a bound.

Read from the environment: `LAMBDAD_<SECTION>__<NAME>`, e.g. LAMBDAD_WORKER__ENVIRONMENTS_MAX=200. The three engines' addresses
have the names that other tools use: KAFKA_BOOTSTRAP_SERVERS (and what a client needs beside it, KAFKA_SECURITY_PROTOCOL and so
on), REDIS_URL, DATABASE_URL. Queues may have a Redis of their own, QUEUES_REDIS_URL. A variable that is empty says nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, IPvAnyNetwork, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.domain.arns import Home
from shared.domain.limits import TIMEOUT_S_MAX, TIMEOUT_S_MAX_DEFAULT
from shared.settings.kafka import KafkaCluster, Mechanism, SecurityProtocol
from shared.settings.network import NetworkSettings

REGION = r"^[a-z]{2}(-[a-z]+)+-\d$"


class FrontendSettings(BaseModel):
    """The endpoint: the API, invocations, function URLs and what is forwarded."""

    host: str = Field("127.0.0.1", description="address that the endpoint listens on")
    port: int = Field(9000, ge=0, le=65_535, description="port of the endpoint; 0 takes a free one")
    auth: bool = Field(True, description="whether signatures are checked; only on a loopback address may they not be")
    root_access_key_id: str = Field("", description="the id of the account's own key, which may do everything")
    root_secret_access_key: SecretStr = Field(SecretStr(""), description="the secret that goes with it")
    connections_max: int = Field(
        1_000,
        ge=1,
        description="connections at one time; at the bound, the longest waiting that has shown no valid signature is closed",
    )
    connections_per_address_max: int = Field(
        0, ge=0, description="connections of one client address; 0: as many as in total, for a proxy is one address"
    )
    header_bytes_max: int = Field(32 * 1024, ge=1_024, description="request line and headers of one request")
    request_header_timeout_s: float = Field(10.0, gt=0, description="for all headers of a request to arrive")
    request_body_timeout_s: float = Field(
        60.0, gt=0, description="for a body to arrive, and for a client to take what it is sent"
    )
    keep_alive_timeout_s: float = Field(75.0, gt=0, description="how long a connection may stay open between requests")
    queue_wait_s: float = Field(10.0, gt=0, description="longest wait for a worker with room")
    cancel_on_disconnect: bool = Field(
        False, description="whether an invocation ends when its client closes; by default it runs to its end, as on AWS"
    )
    domain: str = Field(
        "localhost",
        max_length=190,
        pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*$",
        description="what the host names of function URLs end in: all names under it must lead to the endpoint",
    )
    forward_connect_timeout_s: float = Field(5.0, gt=0, description="to reach the endpoint of a forwarded service")
    forward_idle_timeout_s: float = Field(60.0, gt=0, description="how long a forwarded request may go without a byte")
    forwarded_max: int = Field(200, ge=1, description="requests that are being forwarded at one time")
    block_public_policies: bool = Field(False, description="whether resource policies that let everybody in are refused")


class FunctionSettings(BaseModel):
    """What a function may be given."""

    timeout_s_max: int = Field(
        TIMEOUT_S_MAX_DEFAULT, ge=1, le=TIMEOUT_S_MAX, description="the longest Timeout that a function may be given"
    )
    endpoint_variable: bool = Field(
        True,
        description="whether functions find the cluster's endpoint in AWS_ENDPOINT_URL, which AWS's SDKs and CLI then call; "
        "without it they call AWS itself",
    )


class WorkerSettings(BaseModel):
    """Execution environments of one node."""

    host: str = Field(
        "127.0.0.1",
        description="address that the dispatch port listens on; `local`: a Unix socket, for callers on this host only",
    )
    advertised_host: str | None = Field(None, description="address that callers dial; the listening one by default")
    port: int = Field(0, ge=0, le=65_535, description="of the dispatch port; 0 takes a free one")
    environments_max: int = Field(2_000, ge=1, le=10_000, description="execution environments of the worker, busy and idle")
    pool_size: int = Field(4, ge=0, le=64, description="pre-forked sandboxes kept ready, a runtime, while nothing is deployed")
    pool_size_max: int | None = Field(
        None,
        ge=0,
        le=5_000,
        description="what that grows to as functions are deployed, and after bursts, for a while; by default what a "
        "sixteenth of the host's memory holds, 512 at most",
    )
    prestart_runtimes: list[str] = Field(
        default_factory=lambda: ["python3.12"],
        description="for which sandboxes are kept ready from the start; of others, once used",
    )
    isolation: Literal["full", "rootless"] = Field(
        "full",
        description="how far functions are kept apart: `rootless` is the weaker level of a worker that is not started by root, "
        "without network and control groups (SECURITY.md)",
    )
    fresh_interpreters: bool = Field(
        False,
        description="whether each Python environment executes an interpreter of its own; by default those of a version are "
        "forks of one, which makes cold starts short, and memory layout and hash seed alike",
    )
    runtime_dir: Path | None = Field(None, description="where `make setup` put the runtime clients, a folder an interpreter")
    code_cache_bytes_max: int = Field(
        5 * 1024**3,
        ge=1024**2,
        description="unpacked code and layers on disk, 4 KiB for each file and directory besides their bytes",
    )
    log_bytes_a_second_max: int = Field(
        2 * 1024**2,
        ge=1_024,
        description="what a worker keeps of what one function logs, on average; it may save up for eight times as much at once",
    )
    uid_first: int = Field(200_000, ge=1_000, description="the first user id that functions run as")
    uid_count: int = Field(
        50_000, ge=1, description="how many there are, for all workers of a host: each environment has one of its own"
    )
    memory_mb_max: int | None = Field(
        None,
        ge=256,
        description="what all functions on the worker may use at one time, with what is in their `/tmp`; by default seven "
        "eighths of the host's memory, and at least 1 GB less than all of it. Several workers of a host share it: set it then",
    )
    memory_overcommit: float = Field(
        50.0,
        ge=1.0,
        le=1_000.0,
        description="how many times what all functions may use at one time the memory sizes of the worker's environments may "
        "add up to: an idle one takes a fraction of its size, and functions rarely use all of it",
    )
    processes_max: int | None = Field(
        None,
        ge=64,
        description="processes and threads of all functions on the worker; by default half of what the host can have",
    )
    allow_missing_limits: list[str] = Field(
        default_factory=list, description="of memory, cpu, pids, freezer: what this host cannot give and functions run without"
    )
    drain_timeout_s: float = Field(
        6.0,
        gt=0,
        le=TIMEOUT_S_MAX,
        description="how long a worker that stops waits for what runs; `lambdad up` ends its own after 12 s in any case",
    )


class DispatchSettings(BaseModel):
    """Leases, membership and the way from a caller to a worker: the same for every service of a cluster."""

    cell: str = Field("0", pattern=r"^[a-z0-9-]{1,32}$", description="the cell (one Redis, its workers)")
    heartbeat_s: float = Field(1.0, gt=0, description="between two signs of life of a member in Redis")
    dead_after_s: float = Field(
        4.0, gt=0, description="without a sign of life for so long, a member counts as dead and its leases go"
    )
    connect_timeout_s: float = Field(2.0, gt=0, description="to reach a worker, or Redis")
    redis_timeout_s: float = Field(2.0, gt=0, description="for an answer of Redis")
    sticky_ms: int = Field(
        20, ge=0, le=1_000, description="how long a caller keeps the lease of an idle environment for its next call"
    )
    keep_alive_s: float = Field(
        600.0,
        gt=0,
        description="an environment idle for longer is stopped, as long as too little is known of its function's pauses",
    )
    keep_alive_s_min: float = Field(
        60.0, gt=0, description="idle environments are kept for so long, however short their pauses"
    )
    keep_alive_s_max: float = Field(
        3_600.0,
        gt=0,
        description="idle environments are kept for no longer, however long their pauses; where this, KEEP_ALIVE_S_MIN and "
        "KEEP_ALIVE_S are the same, nothing is learnt",
    )
    tls_ca_file: Path | None = Field(
        None,
        description="PEM of the authority that certificates of workers and of their callers are of; with the two below, they "
        "speak TLS 1.3 and both show one. Workers on a Unix socket need none",
    )
    tls_certificate_file: Path | None = Field(
        None, description="PEM of this host's certificate: of a worker's it has to name the address that callers dial"
    )
    tls_key_file: Path | None = Field(None, description="PEM of the key that goes with it")
    account_concurrency: int = Field(1_000, ge=1, description="invocations of the account at one time, in each region")


class EventSettings(BaseModel):
    """Asynchronous invocations, event source mappings and logs, on Kafka."""

    topic_prefix: str = Field("lambdad", description="what the names of the cluster's own topics and groups begin with")
    async_partitions: int = Field(8, ge=1, le=256, description="of each of the cluster's topics, when it is made")
    replication_factor: int = Field(
        1, ge=1, le=7, description="of the cluster's topics, when they are made; from 3 on two replicas have to take a record"
    )
    in_flight_max: int = Field(500, ge=1, description="events a poller runs at once")
    produce_timeout_s: float = Field(10.0, gt=0, description="for Kafka to acknowledge an event")
    log_bytes_max: int = Field(
        4 * 1024**3,
        ge=64 * 1024**2,
        description="what the log topic keeps of what functions log, of all of them together: the oldest goes first",
    )
    drain_timeout_s: float = Field(
        6.0, ge=0, description="how long a poller that stops waits for the batches of event source mappings that run"
    )
    retry_delays_s: tuple[int, ...] = Field(
        (60, 120), min_length=1, description="waits before the first and the second retry of an event that a function failed on"
    )
    backoff_delays_s: tuple[int, ...] = Field(
        (1, 2, 4, 8, 16, 32, 64, 128, 256, 300), min_length=1, description="waits of an event that could not run"
    )
    kafka_clusters: dict[str, KafkaCluster] = Field(
        default_factory=dict,
        description="clusters that mappings may name: a name to bootstrap servers, or to an object with what is below",
    )
    kafka_networks_allowed: tuple[IPvAnyNetwork, ...] = Field(
        (), description="where self-managed clusters of mappings may be, e.g. 10.1.0.0/16; anywhere when there is none"
    )
    kafka_networks_denied: tuple[IPvAnyNetwork, ...] = Field(
        (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"), IPv6Network("fd00:ec2::/32")),
        description="where they may not be, even if allowed: link-local and metadata addresses by default. The cluster's own "
        "Redis and Postgres never",
    )
    connections_authorized_after_s: float = Field(
        1.0, ge=0, description="after which a router asks a connection's authorization server for its first token"
    )
    http_networks_allowed: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="where the addresses may be that topics and API destinations deliver to, e.g. 10.1.0.0/16; anywhere when "
        "there is none",
    )
    http_networks_denied: tuple[IPvAnyNetwork, ...] = Field(
        (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"), IPv6Network("fd00:ec2::/32")),
        description="where they may not be, even if allowed: link-local and metadata addresses by default. The cluster's own "
        "Redis, Postgres and Kafka never",
    )


class LedgerSettings(BaseModel):
    """What became of asynchronous events, in Postgres: docs/ledger.md."""

    keep_h: int = Field(
        168,
        ge=6,
        le=8_784,
        description="how long an event is known; its payload, which redrives need, is in Kafka for a week",
    )
    bytes_max: int = Field(
        20 * 1024**3,
        ge=64 * 1024**2,
        description="what its tables may take on Postgres's disk: beyond it the oldest six hours go before their time",
    )


class QueuesSettings(BaseModel):
    """Queues, on Redis."""

    timeout_s: float = Field(5.0, gt=0, description="for an answer of the Redis of queues")
    fsync: Literal["no", "everysec", "always"] = Field(
        "no",
        description="when the Redis that the cluster starts itself has the disk keep what was acknowledged; what each loses "
        "when Redis dies, or the machine loses its power: docs/operations.md",
    )
    deleted_name_wait_s: float = Field(
        60.0, ge=0, description="for how long the name of a queue that was deleted may not be taken again; 60 on AWS"
    )


class RegistrySettings(BaseModel):
    """What Postgres and the package store hold, and caches of it."""

    package_store_url: str = Field(
        "",
        description="where packages are kept: file:///path or s3://bucket/prefix; in the data directory by default",
    )
    package_grace_s: float = Field(3_600.0, gt=0, description="how long a package that nothing refers to is kept")
    package_cleanup_interval_s: float = Field(600.0, gt=0, description="between two looks for packages that nothing refers to")
    pool_size: int = Field(8, ge=1, le=100, description="connections to Postgres, a process")
    query_timeout_s: float = Field(10.0, gt=0, description="for an answer of Postgres")
    cache_entries_max: int = Field(10_000, ge=1, description="functions whose settings a process remembers")
    cache_ttl_s: float = Field(5.0, gt=0, description="after which a change is seen whose announcement was lost")


class S3Settings(BaseModel):
    """Where code is taken from that a request names by bucket and key, and the service behind an s3:// package store."""

    endpoint_url: str = Field(
        "",
        description="https://host, http://host:port or file:///folder with a folder a bucket; by default in the data directory",
    )
    region: str = Field("", description="the cluster's own by default")
    access_key_id: str = Field("", description="the usual AWS_* variables by default")
    secret_access_key: SecretStr = Field(SecretStr(""), description="the secret that goes with it")
    session_token: SecretStr = Field(SecretStr(""), description="the token of temporary keys")
    anonymous: bool = Field(False, description="whether no signature is sent")
    path_style: bool = Field(True, description="whether the bucket's name is in the path, not in the host name")
    timeout_s: float = Field(20.0, gt=0, le=25, description="to read one package; under what a request may take")


class ForwardSigning(BaseModel):
    """With whose key requests for a forwarded service are signed again. Without it they are passed as clients signed them."""

    access_key_id: str = Field(min_length=1, description="the id of a key that the target knows")
    secret_access_key: SecretStr = Field(description="the secret that goes with it")
    session_token: SecretStr = Field(SecretStr(""), description="the token of temporary keys")
    region: str = Field("", description="what its requests are signed for; the request's own region by default")


class CodeSigningSettings(BaseModel):
    """Who may sign packages."""

    public_keys: dict[str, Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]] = Field(
        default_factory=dict, description="Ed25519 keys (base64 of 32 bytes) that sign packages, by signing profile version ARN"
    )


class TelemetrySettings(BaseModel):
    """Health, metrics and the service's own log."""

    host: str = Field("127.0.0.1", description="address of the health and metrics port")
    port: int = Field(0, ge=0, le=65_535, description="port of health and metrics; 0 takes a free one")
    log_level: str = Field("INFO", description="the least that a service logs: DEBUG, INFO, WARNING, ERROR")


class Settings(BaseSettings):
    """Everything a process of this project can be told. Raises pydantic.ValidationError on a value out of bounds."""

    model_config = SettingsConfigDict(
        env_prefix="LAMBDAD_", env_nested_delimiter="__", populate_by_name=True, extra="ignore", env_ignore_empty=True
    )

    data_dir: Path = Field(
        Path(".lambdad"), description="where a process keeps its files; of the whole cluster with `lambdad up`"
    )
    account_id: str = Field("000000000000", pattern=r"^\d{12}$", description="the account's number, as it is in ARNs")
    region: str = Field("us-east-1", pattern=REGION, description="where requests are that name no region; always served")
    regions: tuple[Annotated[str, StringConstraints(pattern=REGION)], ...] = Field(
        (), max_length=1_000, description="which regions are served besides; all of AWS's when it is empty"
    )
    cluster_secret: SecretStr = Field(
        SecretStr(""),
        description="what connections to workers, function credentials and URL ids are proven with; one for all services",
    )
    instance: str = Field("", description="name of this process in the cluster; made up when empty")
    kafka_bootstrap_servers: str = Field(
        "127.0.0.1:9092", validation_alias="KAFKA_BOOTSTRAP_SERVERS", description="host:port, several by commas"
    )
    kafka_security_protocol: SecurityProtocol = Field(
        "PLAINTEXT", validation_alias="KAFKA_SECURITY_PROTOCOL", description="how Kafka is spoken to"
    )
    kafka_sasl_mechanism: Mechanism = Field(
        "PLAIN", validation_alias="KAFKA_SASL_MECHANISM", description="how Kafka is told who asks"
    )
    kafka_sasl_username: str = Field("", validation_alias="KAFKA_SASL_USERNAME", description="with a SASL protocol alone")
    kafka_sasl_password: SecretStr = Field(
        SecretStr(""), validation_alias="KAFKA_SASL_PASSWORD", description="the password that goes with it"
    )
    kafka_ssl_ca_file: Path | None = Field(
        None,
        validation_alias="KAFKA_SSL_CA_FILE",
        description="PEM of the authorities that Kafka's certificate is of; the machine's own by default",
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        validation_alias="REDIS_URL",
        description="the Redis of leases, a password in it: redis://:pw@host:port/0",
    )
    queues_redis_url: str = Field(
        "",
        validation_alias="QUEUES_REDIS_URL",
        description="the Redis of queues and topics; REDIS_URL by default",
    )
    database_url: str = Field(
        "postgresql://lambdad@127.0.0.1:5432/lambdad",
        validation_alias="DATABASE_URL",
        description="the Postgres of the registry; its tables are made at the first start",
    )
    frontend: FrontendSettings = Field(default_factory=FrontendSettings)
    network: NetworkSettings = Field(default_factory=NetworkSettings)
    functions: FunctionSettings = Field(default_factory=FunctionSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    dispatch: DispatchSettings = Field(default_factory=DispatchSettings)
    events: EventSettings = Field(default_factory=EventSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    queues: QueuesSettings = Field(default_factory=QueuesSettings)
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
