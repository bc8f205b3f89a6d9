"""How a version follows new versions of its runtime.

A cluster has one version of each runtime, the interpreter that its workers run: so every mode leads to the same one, and
`Manual` can hold on to that one only.
"""

from __future__ import annotations

from services.frontend.apis.lambda_ import naming
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from services.frontend.apis.lambda_.function_updates import check_settled
from shared.domain.errors import InvalidParameterValueException
from shared.domain.runtime_versions import runtime_version_arn
from shared.registry import function_settings, functions
from shared.registry.function_settings import RuntimeManagement


async def get_runtime_management_config(ctx: ControlContext, request: Request) -> Reply:
    name, qualifier = naming.named(ctx, request)
    found = await naming.find(ctx, name, qualifier)
    async with ctx.registry.read() as connection:
        management = await function_settings.runtime_management(connection, found.function.id, found.version.number)
    return _shown(ctx, name, qualifier, management)


async def put_runtime_management_config(ctx: ControlContext, request: Request) -> Reply:
    """An alias as qualifier stands for the version that it points to; a RuntimeVersionArn counts with `Manual` only."""
    name, qualifier = naming.named(ctx, request)
    mode, wanted = request["UpdateRuntimeOn"], request.get("RuntimeVersionArn")
    async with ctx.registry.write() as connection:
        locked = await functions.lock(connection, ctx.home, name)
        found = None if locked is None else await functions.find(connection, ctx.home, name, qualifier)
        if found is None:
            raise naming.not_found(ctx, name, qualifier)
        check_settled(ctx, found)
        management = RuntimeManagement(mode)
        if mode == "Manual":
            runtime = found.version.configuration.runtime
            management = RuntimeManagement(mode, _checked(wanted, runtime, runtime_version_arn(ctx.home.region, runtime)))
        await function_settings.put_runtime_management(connection, found.function.id, found.version.number, management)
    return _shown(ctx, name, qualifier, management)


def _checked(wanted: str | None, runtime: str, existing: str) -> str:
    """Raises InvalidParameterValueException."""
    if wanted is None:
        raise InvalidParameterValueException("RuntimeVersionArn is required when UpdateRuntimeOn is Manual.")
    if wanted != existing:
        raise InvalidParameterValueException(
            f"The runtime version {wanted} is not available for the runtime {runtime}. The only one is {existing}."
        )
    return wanted


def _shown(ctx: ControlContext, name: str, qualifier: str | None, management: RuntimeManagement) -> Reply:
    return {
        "UpdateRuntimeOn": management.update_on,
        "FunctionArn": naming.arn(ctx, name, qualifier),
        "RuntimeVersionArn": management.runtime_version_arn,
    }
