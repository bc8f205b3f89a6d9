"""What the registry keeps, as frozen records. Times are Unix milliseconds, sizes bytes."""

from __future__ import annotations

import msgspec

from shared.domain.arns import LATEST
from shared.domain.function_state import Status
from shared.domain.mappings import EventSourceMapping


class LoggingConfiguration(msgspec.Struct, frozen=True, omit_defaults=True):
    """Levels are set with the JSON format only."""

    group: str
    format: str = "Text"
    application_level: str | None = None
    system_level: str | None = None


class AttachedLayer(msgspec.Struct, frozen=True):
    """A layer version as it was when a function took it: it stays usable there when the layer is deleted. Sizes in bytes."""

    arn: str
    sha256: str
    size_bytes: int
    unzipped_bytes: int


class FileSystem(msgspec.Struct, frozen=True, omit_defaults=True):
    """direct_s3_read: None unless it was set, which only file systems over S3 buckets allow."""

    access_point_arn: str
    mount_path: str
    direct_s3_read: str | None = None


class VpcConfiguration(msgspec.Struct, frozen=True):
    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    ipv6: bool = False


class FunctionConfiguration(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything about a version that a user sets, besides its code. memory_mb, timeout_s, tmp_mb as on AWS.

    signing_profile: ARN of the signing profile version that signed the code, where a code signing configuration asked for it.
    source_kms_key_arn: the key named with the code; kept and shown, for the package store encrypts with none.
    environment: None when none was ever sent, which a reply shows; {} when it was emptied.
    """

    role_arn: str
    runtime: str
    handler: str
    logging: LoggingConfiguration
    description: str = ""
    timeout_s: int = 3
    memory_mb: int = 128
    tmp_mb: int = 512
    architecture: str = "x86_64"
    environment: dict[str, str] | None = None
    dead_letter_arn: str | None = None
    tracing_mode: str = "PassThrough"
    snap_start: str = "None"
    kms_key_arn: str | None = None
    layers: tuple[AttachedLayer, ...] = ()
    file_systems: tuple[FileSystem, ...] = ()
    vpc: VpcConfiguration | None = None
    signing_profile: str | None = None
    source_kms_key_arn: str | None = None


class Function(msgspec.Struct, frozen=True):
    """What all versions of a function share.

    revision: of the last write to the function, its aliases, concurrency or event-invoke configuration; from one sequence.
    last_version: number of the version published last, never given again. dead_letter_arn: of `$LATEST`, used by all versions.
    code_signing_id: of the code signing configuration that checks its code. recursive_loop: `Terminate` or `Allow`.
    """

    id: str
    region: str
    name: str
    revision: int
    last_version: int
    reserved_concurrency: int | None
    dead_letter_arn: str | None
    tags: dict[str, str]
    code_signing_id: str | None = None
    recursive_loop: str = "Terminate"


class Version(msgspec.Struct, frozen=True):
    """One version; number 0 is `$LATEST`.

    config_revision: revision at which code or configuration last changed, part of the identity of what runs.
    source_digest: of what was published, to tell an unchanged `$LATEST`; empty on `$LATEST` itself.
    """

    function_id: str
    number: int
    code_sha256: str
    code_bytes: int
    configuration: FunctionConfiguration
    config_revision: int
    revision_id: str
    status: Status
    failure: str
    modified_ms: int
    source_digest: str

    @property
    def label(self) -> str:
        return LATEST if self.number == 0 else str(self.number)


class FunctionVersion(msgspec.Struct, frozen=True):
    """A function and one of its versions, read in one statement."""

    function: Function
    version: Version


class Alias(msgspec.Struct, frozen=True):
    """additional_version, additional_weight: the second version of a weighted alias and its share, 0 to 1."""

    function_id: str
    name: str
    version: int
    description: str
    revision_id: str
    additional_version: int | None = None
    additional_weight: float | None = None


class EventInvokeRow(msgspec.Struct, frozen=True):
    """An event-invoke configuration as it was set: None is a setting that was left out. qualifier: `$LATEST` for none."""

    function_id: str
    qualifier: str
    retry_attempts_max: int | None
    event_age_s_max: int | None
    on_success_arn: str | None
    on_failure_arn: str | None
    modified_ms: int


class MappingRow(msgspec.Struct, frozen=True):
    """A mapping, and what pollers have no use for."""

    mapping: EventSourceMapping
    tags: dict[str, str]
