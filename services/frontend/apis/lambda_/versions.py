"""Published versions."""

from __future__ import annotations

import base64

from services.frontend.apis.lambda_ import feature_rules, naming, pages, rendering
from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.errors import InvalidParameterValueException, ResourceConflictException, ServiceException
from shared.domain.function_state import State
from shared.registry import functions, versions
from shared.registry.packages import PackageError


async def publish_version(ctx: ControlContext, request: Request) -> Reply:
    """Gives the last version back, unchanged, when `$LATEST` is what was published last."""
    name = naming.named_unqualified(ctx, request)
    found = await naming.find(ctx, name)
    feature_rules.check_available(request)
    try:
        await ctx.registry.settler.settle(found)
    except PackageError as error:
        raise ServiceException("The function's code package cannot be reached. Try again.") from error
    async with ctx.registry.write() as connection:
        current = await functions.lock(connection, ctx.home, name)
        if current is None:
            raise naming.not_found(ctx, name)
        if current.version.status.state is not State.ACTIVE:
            raise ResourceConflictException(
                "The operation cannot be performed at this time. "
                f"The function is currently in the following state: {current.version.status.state.value}"
            )
        _check_code(request, current.version.code_sha256)
        naming.check_revision(request, current.version.revision_id)
        before = current.function.revision
        made = await versions.publish(connection, current, description=request.get("Description"))
    if made.function.revision != before:
        await ctx.announce(name, made.function.id, made.function.revision, made.function.reserved_concurrency)
    return rendering.configuration(ctx, made, made.version.label)


def _check_code(request: Request, code_sha256: str) -> None:
    current = base64.b64encode(bytes.fromhex(code_sha256)).decode()
    expected = request.get("CodeSha256")
    if expected and expected != current:
        raise InvalidParameterValueException(
            f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({current}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )


async def list_versions_by_function(ctx: ControlContext, request: Request) -> Reply:
    """`$LATEST` first, then versions, ascending."""
    name = naming.named_unqualified(ctx, request)
    limit = pages.size(request)
    after = pages.after(request, int, -1)
    async with ctx.registry.read() as connection:
        found, more = pages.cut(await versions.page(connection, ctx.home, name, after, limit + 1), limit)
        if not found and not await functions.exists(connection, ctx.home, name):
            raise naming.not_found(ctx, name)
    reply: Reply = {"Versions": [rendering.listed(ctx, one, one.version.label) for one in found]}
    if more:
        reply["NextMarker"] = pages.marker(found[-1].version.number)
    return reply
