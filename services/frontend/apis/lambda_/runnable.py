"""Whether any worker of the cluster could run a function: asked before it is accepted, not when it is invoked."""

from __future__ import annotations

import msgspec

from services.frontend.apis.lambda_.context import ControlContext, Request
from shared.dispatch.cell.worker_record import why_none_runs
from shared.domain.errors import InvalidParameterValueException
from shared.registry.records import FunctionConfiguration


async def created(ctx: ControlContext, configuration: FunctionConfiguration, request: Request) -> FunctionConfiguration:
    """Without a wish the architecture is x86_64, as AWS's, and the workers' own where they have no other.

    Raises InvalidParameterValueException when no worker can run it."""
    known = [] if ctx.workers is None else await ctx.workers.capabilities()
    if not request.get("Architectures") and len(architectures := {each.architecture for each in known}) == 1:
        configuration = msgspec.structs.replace(configuration, architecture=architectures.pop())
    if known and (why := why_none_runs(known, configuration.runtime, configuration.architecture)):
        raise InvalidParameterValueException(why)
    return configuration


async def check(ctx: ControlContext, runtime: str, architecture: str) -> None:
    """Raises InvalidParameterValueException when no worker can run it. Accepts everything while none says what it can."""
    known = [] if ctx.workers is None else await ctx.workers.capabilities()
    if known and (why := why_none_runs(known, runtime, architecture)):
        raise InvalidParameterValueException(why)
