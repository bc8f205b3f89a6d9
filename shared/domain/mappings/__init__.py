"""Event source mappings as frozen records. Beside them: the table of their states, a file of rules for each kind of source."""

from __future__ import annotations

import enum

import msgspec


class MappingState(enum.StrEnum):
    CREATING = "Creating"
    ENABLING = "Enabling"
    ENABLED = "Enabled"
    DISABLING = "Disabling"
    DISABLED = "Disabled"
    UPDATING = "Updating"
    DELETING = "Deleting"


class SourceKind(enum.StrEnum):
    """What events come from. `catalogue.rules_of` has the settings that a mapping of it takes; pollers have a folder for each
    kind that they read."""

    SQS = "sqs"
    KINESIS = "kinesis"
    DYNAMODB = "dynamodb"
    MSK = "msk"
    SELF_MANAGED_KAFKA = "self-managed-kafka"
    MQ = "mq"
    DOCUMENTDB = "documentdb"


class ErrorHandling(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of a batch that fails. retry_attempts_max, record_age_s_max: -1 is without end."""

    retry_attempts_max: int = -1
    record_age_s_max: int = -1
    bisect_on_error: bool = False
    report_batch_item_failures: bool = False


class SchemaRegistry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A schema registry of a Kafka source. access: pairs of authentication type and secret. validated: KEY, VALUE."""

    uri: str
    record_format: str | None = None
    access: tuple[tuple[str, str], ...] = ()
    validated: tuple[str, ...] = ()


class ProvisionedPollers(msgspec.Struct, frozen=True, omit_defaults=True):
    minimum: int
    maximum: int
    group: str | None = None


class DocumentDatabase(msgspec.Struct, frozen=True, omit_defaults=True):
    database: str | None = None
    collection: str | None = None
    full_document: str | None = None


class MappingSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the owner of a mapping set, as replies show it; None where something was left out.

    What every kind goes by is in EventSourceMapping itself, made from this and the defaults of the kind; what one kind alone
    has (source_access, queues, parallelization_factor, pollers, ...) its source takes from here. batching_window_s: left out
    it is half a second for Kafka. concurrency_max: of invocations for a queue.
    """

    batching_window_s: int | None = None
    retry_attempts_max: int | None = None
    record_age_s_max: int | None = None
    bisect_on_error: bool | None = None
    function_response_types: tuple[str, ...] | None = None
    parallelization_factor: int | None = None
    tumbling_window_s: int | None = None
    source_access: tuple[tuple[str, str], ...] = ()
    queues: tuple[str, ...] = ()
    concurrency_max: int | None = None
    pollers: ProvisionedPollers | None = None
    metrics: tuple[str, ...] | None = None
    log_level: str | None = None
    kms_key_arn: str | None = None
    schema_registry: SchemaRegistry | None = None
    consumption_mode: str | None = None
    document_db: DocumentDatabase | None = None


class EventSourceMapping(msgspec.Struct, frozen=True):
    """A source of events and the function that they go to: all that control plane and pollers have to know.

    function_arn: with the qualifier. source_arn: of a Kafka cluster, whose name is looked up (the built-in cluster is
    `lambdad`), of a queue, stream, broker or database; None when bootstrap_servers names a self-managed cluster.
    consumer_group_id: the name under which its readers share the source, the uuid unless it was chosen. starting_position:
    None for sources without one. starting_timestamp_ms: with AT_TIMESTAMP. batching_window_s: 0 to 300. enabled: what the
    user asked for; state: what the poller reached.
    """

    uuid: str
    region: str
    kind: SourceKind
    function_name: str
    qualifier: str | None
    function_arn: str
    source_arn: str | None
    bootstrap_servers: tuple[str, ...]
    topics: tuple[str, ...]
    consumer_group_id: str
    starting_position: str | None
    starting_timestamp_ms: int | None
    batch_size: int
    batching_window_s: float
    filters: tuple[str, ...]
    on_failure_arn: str | None
    error_handling: ErrorHandling
    enabled: bool
    state: MappingState
    state_reason: str
    last_processing_result: str
    last_modified_ms: int
    revision: int
    settings: MappingSettings = MappingSettings()

    @property
    def unqualified_arn(self) -> str:
        """The function's, without the version or alias."""
        return self.function_arn if self.qualifier is None else self.function_arn.removesuffix(f":{self.qualifier}")
