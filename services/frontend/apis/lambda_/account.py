"""Limits and use of the account."""

from __future__ import annotations

from services.frontend.apis.lambda_.context import ControlContext, Reply, Request
from shared.domain.limits import UNZIPPED_BYTES_MAX, ZIP_UPLOAD_BYTES_MAX
from shared.registry import concurrency, functions, layers, provisioned

CODE_BYTES_MAX = 80_530_636_800
"""AWS's default for an account, 75 GiB; shown, not enforced."""


async def get_account_settings(ctx: ControlContext, _request: Request) -> Reply:
    async with ctx.registry.read() as connection:
        count, code_bytes = await functions.usage(connection, ctx.home)
        code_bytes += await layers.usage(connection, ctx.home)
        taken = await concurrency.reserved(connection, ctx.home) + await provisioned.unreserved(connection, ctx.home)
    limit = ctx.settings.dispatch.account_concurrency
    return {
        "AccountLimit": {
            "TotalCodeSize": CODE_BYTES_MAX,
            "CodeSizeUnzipped": UNZIPPED_BYTES_MAX,
            "CodeSizeZipped": ZIP_UPLOAD_BYTES_MAX,
            "ConcurrentExecutions": limit,
            "UnreservedConcurrentExecutions": limit - taken,
        },
        "AccountUsage": {"TotalCodeSize": code_bytes, "FunctionCount": count},
    }
