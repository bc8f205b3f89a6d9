"""Whether a function that keeps invoking itself, through others or directly, is stopped."""

from __future__ import annotations

from services.frontend.apis.lambda_ import naming
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.registry import function_settings, functions


async def put_function_recursion_config(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    loop = request["RecursiveLoop"]
    async with ctx.registry.write() as connection:
        current = await functions.lock(connection, ctx.home, name)
        if current is None:
            raise naming.not_found(ctx, name)
        revision = await function_settings.set_recursive_loop(connection, current.function.id, loop)
    await ctx.announce(name, current.function.id, revision, current.function.reserved_concurrency)
    return {"RecursiveLoop": loop}


async def get_function_recursion_config(ctx: ControlContext, request: Request) -> Reply:
    name = naming.named_unqualified(ctx, request)
    return {"RecursiveLoop": (await naming.find(ctx, name)).function.recursive_loop}
