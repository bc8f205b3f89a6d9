"""Functions as frozen records: what a worker needs to run a version, and what a caller resolved."""

from __future__ import annotations

import msgspec


def version_key(function_id: str, label: str, config_revision: int) -> str:
    """Identity of what runs: of a version as it was since that revision of its function."""
    return f"{function_id}:{label}:{config_revision}"


def parts_of_version_key(key: str) -> tuple[str, str, int] | None:
    """What `version_key` made it of; None when it did not."""
    parts = key.split(":")
    return (parts[0], parts[1], int(parts[2])) if len(parts) == 3 and parts[2].isdecimal() else None


class Layer(msgspec.Struct, frozen=True, array_like=True):
    """One layer of a version, in the order it is laid over /opt."""

    arn: str
    sha256: str
    size_bytes: int


class VersionSpec(msgspec.Struct, frozen=True, array_like=True):
    """Everything a worker needs to run one version. Travels with a cold invoke; workers never read the registry.

    version_key: identity of what runs; an environment belongs to exactly one. Changes with every update of $LATEST.
    code_sha256: lower-case hex of the package's SHA-256, its name in the package store. code_size_bytes: of the package.
    """

    version_key: str
    function_id: str
    function_name: str
    function_arn: str
    version: str
    account_id: str
    region: str
    runtime: str
    handler: str
    code_sha256: str
    memory_mb: int
    timeout_s: int
    tmp_mb: int
    environment: dict[str, str]
    role_arn: str
    log_group: str
    log_format: str = "Text"
    application_log_level: str | None = None
    system_log_level: str | None = None
    architecture: str = "x86_64"
    layers: tuple[Layer, ...] = ()
    code_size_bytes: int = 0

    @property
    def counted_as(self) -> str:
        """What its runs count as: an account has its concurrency in each region."""
        return counted_as(self.region, self.function_id)


def counted_as(region: str, function_id: str) -> str:
    return f"{region}/{function_id}"


class EventInvokeConfig(msgspec.Struct, frozen=True):
    """How asynchronous invocations of a function or qualifier are retried and where their outcomes go.

    recursion_allowed: whether a chain of invocations may lead to the function again and again.
    """

    retry_attempts_max: int = 2
    event_age_s_max: int = 21_600
    on_success_arn: str | None = None
    on_failure_arn: str | None = None
    dead_letter_arn: str | None = None
    recursion_allowed: bool = False


class InvokeTarget(msgspec.Struct, frozen=True):
    """`function:qualifier` resolved: what to run and under which limits, as of one registry revision.

    revision: of the function, from one database-wide sequence, so a greater one is newer.
    invoked_arn: the ARN as invoked, with the qualifier if one was given. state: the function's State.
    """

    spec: VersionSpec
    revision: int
    invoked_arn: str
    qualifier: str | None
    reserved_concurrency: int | None
    state: str
    event_invoke: EventInvokeConfig

    @property
    def executed_version(self) -> str:
        return self.spec.version
