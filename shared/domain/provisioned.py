"""Provisioned concurrency: environments of a version that are started and initialised ahead of its invocations."""

from __future__ import annotations

import enum

import msgspec

from shared.domain.limits import PROVISIONED_INIT_TIMEOUT_S_MAX, PROVISIONED_INIT_TIMEOUT_S_MIN


class AllocationStatus(enum.StrEnum):
    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"


INIT_FAILURE = "FUNCTION_ERROR_INIT_FAILURE"
"""AWS's StatusReason for a function whose initialisation fails."""


class ProvisionedConcurrency(msgspec.Struct, frozen=True):
    """What was requested for a version or an alias (qualifier), and how far it has come.

    allocated: environments that are initialised. held_version: the version where all that was requested was last there; other
    than the alias's own while the alias moves. generation: of the request; a status belongs to one.
    """

    function_id: str
    qualifier: str
    requested: int
    generation: int
    modified_ms: int
    allocated: int = 0
    status: AllocationStatus = AllocationStatus.IN_PROGRESS
    status_reason: str = ""
    held_version: int | None = None


def init_limit_s(timeout_s: int) -> int:
    """How long an environment that is started ahead may initialise: as long as the function may run, within AWS's bounds."""
    return min(max(PROVISIONED_INIT_TIMEOUT_S_MIN, timeout_s), PROVISIONED_INIT_TIMEOUT_S_MAX)


def split(requested: int, additional_weight: float) -> tuple[int, int]:
    """How many environments the first and the additional version of a weighted alias get: by their shares of the invocations,
    half an environment rounded up for the first, and one at least for each that gets any when there are two."""
    additional = min(requested, max(0, int(requested * additional_weight + 0.499_999)))
    if requested >= 2 and 0.0 < additional_weight < 1.0:
        additional = min(max(additional, 1), requested - 1)
    return requested - additional, additional
