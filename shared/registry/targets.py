"""`function:qualifier` as what an invocation needs to know, read in one statement."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Select, bindparam, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import LATEST, Home, function_arn
from shared.domain.functions import EventInvokeConfig, InvokeTarget, Layer, VersionSpec, version_key
from shared.registry import rows
from shared.registry.functions import parse_number
from shared.registry.records import FunctionVersion
from shared.registry.tables import FUNCTION_NAMED, AliasTable, EventInvokeTable, FunctionTable, VersionTable

_EVENT_INVOKE = (
    EventInvokeTable.retry_attempts_max,
    EventInvokeTable.event_age_s_max,
    EventInvokeTable.on_success_arn,
    EventInvokeTable.on_failure_arn,
)
_F, _V, _A, _E = FunctionTable.__table__, VersionTable.__table__, AliasTable.__table__, EventInvokeTable.__table__
_EVENT_INVOKE_ON = (EventInvokeTable.function_id == FunctionTable.id) & (EventInvokeTable.qualifier == bindparam("qualifier"))
_BY_NUMBER: Select[Any] = (
    select(*rows.FUNCTION, *rows.VERSION, *_EVENT_INVOKE)
    .select_from(_F.join(_V, VersionTable.function_id == FunctionTable.id).outerjoin(_E, _EVENT_INVOKE_ON))
    .where(FUNCTION_NAMED, VersionTable.number == bindparam("number"))
)
_BY_ALIAS: Select[Any] = (
    select(*rows.FUNCTION, *rows.VERSION, *_EVENT_INVOKE, AliasTable.version, AliasTable.additional_weight)
    .select_from(
        _F.join(_A, AliasTable.function_id == FunctionTable.id)
        .join(
            _V,
            (VersionTable.function_id == FunctionTable.id)
            & or_(VersionTable.number == AliasTable.version, VersionTable.number == AliasTable.additional_version),
        )
        .outerjoin(_E, _EVENT_INVOKE_ON)
    )
    .where(FUNCTION_NAMED, AliasTable.name == bindparam("qualifier"))
)
_WIDTH = len(rows.FUNCTION) + len(rows.VERSION)


class ResolvedVersion(msgspec.Struct, frozen=True):
    """A version that a qualifier may mean, and the share of invocations that it gets."""

    found: FunctionVersion
    event_invoke: EventInvokeConfig
    share: float


async def load(connection: AsyncConnection, home: Home, name: str, qualifier: str | None) -> list[ResolvedVersion]:
    """One version, or the two of a weighted alias; empty when there is no such function or qualifier."""
    number = parse_number(qualifier)
    values = {"region": home.region, "name": name, "qualifier": qualifier or LATEST}
    if number is None:
        result = await connection.execute(_BY_ALIAS, values)
        return [_resolved(row, _share(row)) for row in result]
    result = await connection.execute(_BY_NUMBER, values | {"number": number})
    return [_resolved(row, 1.0) for row in result]


def _share(row: rows.Row) -> float:
    first_version, weight = row[_WIDTH + 4], row[_WIDTH + 5] or 0.0
    number = row[len(rows.FUNCTION) + 1]
    return 1.0 - weight if number == first_version else weight


def _resolved(row: rows.Row, share: float) -> ResolvedVersion:
    found = rows.function_version_of(row[:_WIDTH])
    retries, age, on_success, on_failure = row[_WIDTH : _WIDTH + 4]
    defaults = EventInvokeConfig()
    event_invoke = EventInvokeConfig(
        retry_attempts_max=defaults.retry_attempts_max if retries is None else retries,
        event_age_s_max=defaults.event_age_s_max if age is None else age,
        on_success_arn=on_success,
        on_failure_arn=on_failure,
        dead_letter_arn=found.function.dead_letter_arn,
        recursion_allowed=found.function.recursive_loop == "Allow",
    )
    return ResolvedVersion(found, event_invoke, share)


def target_of(resolved: ResolvedVersion, qualifier: str | None, *, account_id: str) -> InvokeTarget:
    """What a caller needs to invoke this version under this qualifier."""
    function, version = resolved.found.function, resolved.found.version
    configuration = version.configuration
    arn = function_arn(Home(account_id, function.region), function.name)
    spec = VersionSpec(
        version_key=version_key(function.id, version.label, version.config_revision),
        function_id=function.id,
        function_name=function.name,
        function_arn=arn,
        version=version.label,
        account_id=account_id,
        region=function.region,
        runtime=configuration.runtime,
        handler=configuration.handler,
        code_sha256=version.code_sha256,
        memory_mb=configuration.memory_mb,
        timeout_s=configuration.timeout_s,
        tmp_mb=configuration.tmp_mb,
        environment=configuration.environment or {},
        role_arn=configuration.role_arn,
        log_group=configuration.logging.group,
        log_format=configuration.logging.format,
        application_log_level=configuration.logging.application_level,
        system_log_level=configuration.logging.system_level,
        architecture=configuration.architecture,
        layers=tuple(Layer(one.arn, one.sha256, one.size_bytes) for one in configuration.layers),
        code_size_bytes=version.code_bytes,
    )
    return InvokeTarget(
        spec=spec,
        revision=function.revision,
        invoked_arn=arn if qualifier is None else f"{arn}:{qualifier}",
        qualifier=qualifier,
        reserved_concurrency=function.reserved_concurrency,
        state=version.status.state.value,
        event_invoke=resolved.event_invoke,
    )
