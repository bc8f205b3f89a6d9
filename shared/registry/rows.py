"""From rows to records. The columns are listed once, in the order that the converters read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement

from shared.domain.function_state import State, Status, UpdateStatus
from shared.registry.records import Alias, EventInvokeRow, Function, FunctionConfiguration, FunctionVersion, Version
from shared.registry.tables import AliasTable, EventInvokeTable, FunctionTable, VersionTable

FUNCTION: tuple[ColumnElement[Any], ...] = (
    FunctionTable.id.expression,
    FunctionTable.region.expression,
    FunctionTable.name.expression,
    FunctionTable.revision.expression,
    FunctionTable.last_version.expression,
    FunctionTable.reserved_concurrency.expression,
    FunctionTable.dead_letter_arn.expression,
    FunctionTable.tags.expression,
    FunctionTable.code_signing_id.expression,
    FunctionTable.recursive_loop.expression,
)
VERSION: tuple[ColumnElement[Any], ...] = (
    VersionTable.function_id.expression,
    VersionTable.number.expression,
    VersionTable.code_sha256.expression,
    VersionTable.code_bytes.expression,
    VersionTable.configuration.expression,
    VersionTable.config_revision.expression,
    VersionTable.revision_id.expression,
    VersionTable.state.expression,
    VersionTable.update_status.expression,
    VersionTable.failure.expression,
    VersionTable.modified_ms.expression,
    VersionTable.source_digest.expression,
)
ALIAS: tuple[ColumnElement[Any], ...] = (
    AliasTable.function_id.expression,
    AliasTable.name.expression,
    AliasTable.version.expression,
    AliasTable.description.expression,
    AliasTable.revision_id.expression,
    AliasTable.additional_version.expression,
    AliasTable.additional_weight.expression,
)
EVENT_INVOKE: tuple[ColumnElement[Any], ...] = (
    EventInvokeTable.function_id.expression,
    EventInvokeTable.qualifier.expression,
    EventInvokeTable.retry_attempts_max.expression,
    EventInvokeTable.event_age_s_max.expression,
    EventInvokeTable.on_success_arn.expression,
    EventInvokeTable.on_failure_arn.expression,
    EventInvokeTable.modified_ms.expression,
)

Row = Sequence[Any]


def function_of(row: Row) -> Function:
    return Function(*row)


def version_of(row: Row) -> Version:
    return Version(
        function_id=row[0],
        number=row[1],
        code_sha256=row[2],
        code_bytes=row[3],
        configuration=msgspec.convert(row[4], FunctionConfiguration),
        config_revision=row[5],
        revision_id=row[6],
        status=Status(State(row[7]), UpdateStatus(row[8])),
        failure=row[9],
        modified_ms=row[10],
        source_digest=row[11],
    )


def function_version_of(row: Row) -> FunctionVersion:
    """Of a row that has FUNCTION's columns and then VERSION's."""
    return FunctionVersion(function_of(row[: len(FUNCTION)]), version_of(row[len(FUNCTION) :]))


def alias_of(row: Row) -> Alias:
    return Alias(*row)


def event_invoke_of(row: Row) -> EventInvokeRow:
    return EventInvokeRow(*row)
