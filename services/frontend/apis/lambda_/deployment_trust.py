"""Whether code may be deployed to a function that uses a code signing configuration.

Trusted is what one of the configuration's allowed publishers signed (`shared.domain.package_signatures`), with a key that the
operator has named in the settings. A signature that does not belong to its package is always refused; anything else that is
not trusted is what the configuration's policy is about: `Enforce` refuses it, `Warn` lets it through and tells the operator.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_.context import ControlContext
from shared.domain.errors import CodeVerificationFailedException, InvalidCodeSignatureException, ServiceException
from shared.domain.package_signatures import BrokenSignatureError, signature_of, verify
from shared.registry import code_signing
from shared.registry.code_signing import CodeSigningConfig
from shared.registry.packages import PackageError
from shared.registry.records import AttachedLayer

UNTRUSTED = Counter("lambdad_untrusted_deployments_total", "Deployments that failed their code signing check", ["policy"])
VERIFY_INLINE_BYTES_MAX = 256 * 1024
log = logging.getLogger("lambdad.frontend")


class Origin(msgspec.Struct, frozen=True):
    """Who signed a package: None for nobody whose key is known. broken: there is a signature, but not of this package."""

    profile: str | None = None
    broken: bool = False


async def origin_of(ctx: ControlContext, package: bytes) -> Origin:
    if len(package) > VERIFY_INLINE_BYTES_MAX:
        return await asyncio.to_thread(_origin_of, ctx, package)
    return _origin_of(ctx, package)


def _origin_of(ctx: ControlContext, package: bytes) -> Origin:
    try:
        signature = signature_of(package)
        known = signature is not None and verify(signature, ctx.settings.code_signing.public_keys)
    except BrokenSignatureError:
        return Origin(broken=True)
    return Origin(signature.profile if signature is not None and known else None)


async def check_deployment(
    connection: AsyncConnection, function_name: str, config_id: str | None, origin: Origin
) -> str | None:
    """Who is to be shown as the signer of what is deployed to a function; its configuration counts as it is now.

    Raises InvalidCodeSignatureException or CodeVerificationFailedException.
    """
    config = None if config_id is None else await code_signing.find(connection, config_id)
    return None if config is None else check(function_name, config, origin)


async def check_layers(
    ctx: ControlContext,
    connection: AsyncConnection,
    function_name: str,
    config_id: str | None,
    layers: Iterable[AttachedLayer],
) -> None:
    """Layers are held to the same as code. Raises what `check_deployment` does, and ServiceException."""
    if config_id is None:
        return
    for layer in layers:
        try:
            origin = await origin_of(ctx, await ctx.packages.get(layer.sha256))
        except PackageError as error:
            raise ServiceException(f"The code of the layer {layer.arn} cannot be reached. Try again.") from error
        await check_deployment(connection, function_name, config_id, origin)


def check(function_name: str, config: CodeSigningConfig, origin: Origin) -> str | None:
    """The allowed publisher that signed, None when nobody did and that is only warned of.

    Raises InvalidCodeSignatureException or CodeVerificationFailedException.
    """
    if origin.broken:
        raise InvalidCodeSignatureException(
            "The code signature failed the integrity check. If the integrity check fails, then Lambda blocks deployment, "
            "even if the code signing policy is set to WARN."
        )
    if origin.profile in config.publishers:
        return origin.profile
    UNTRUSTED.labels(config.policy).inc()
    if config.policy == "Enforce":
        raise CodeVerificationFailedException(
            "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is "
            f"not configured to accept. Check the provided signature for {function_name}."
        )
    log.warning("untrusted code is deployed to %s: code signing configuration %s warns only", function_name, config.id)
    return None
