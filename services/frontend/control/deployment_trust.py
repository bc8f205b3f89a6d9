"""Whether code may be deployed to a function that uses a code signing configuration.

There is no signing service beside this engine, so no package carries a signature that could be verified: every package and
every layer counts as unsigned. `Enforce` therefore refuses every deployment, `Warn` lets it through and tells the operator.
"""

from __future__ import annotations

import logging

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.errors import CodeVerificationFailedException
from shared.registry import code_signing
from shared.registry.code_signing import CodeSigningConfig

UNTRUSTED = Counter("lambdad_untrusted_deployments_total", "Deployments that failed their code signing check", ["policy"])
log = logging.getLogger("lambdad.frontend")


async def check_deployment(connection: AsyncConnection, function_name: str, config_id: str | None) -> None:
    """Raises CodeVerificationFailedException when the function's configuration, as it is now, enforces trusted code."""
    if config_id is None:
        return
    config = await code_signing.find(connection, config_id)
    if config is not None:
        check(function_name, config)


def check(function_name: str, config: CodeSigningConfig) -> None:
    """Raises CodeVerificationFailedException."""
    UNTRUSTED.labels(config.policy).inc()
    if config.policy == "Enforce":
        raise CodeVerificationFailedException(
            "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is "
            f"not configured to accept. Check the provided signature for {function_name}."
        )
    log.warning("untrusted code is deployed to %s: code signing configuration %s warns only", function_name, config.id)
