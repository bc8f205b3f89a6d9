"""The architecture of a function whose maker does not say one. What no worker can run is made all the same, as on AWS, where a
stack is deployed whole: it is refused when it is invoked, with what the operator does about it."""

from __future__ import annotations

import msgspec

from services.frontend.apis.lambda_.context import ControlContext, Request
from shared.registry.records import FunctionConfiguration


async def chosen(ctx: ControlContext, configuration: FunctionConfiguration, request: Request) -> FunctionConfiguration:
    """x86_64 as AWS's, and the workers' own where they have no other."""
    if request.get("Architectures") or ctx.workers is None:
        return configuration
    architectures = {each.architecture for each in await ctx.workers.capabilities()}
    if len(architectures) != 1:
        return configuration
    return msgspec.structs.replace(configuration, architecture=architectures.pop())
