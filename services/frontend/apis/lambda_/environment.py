"""Rules for the environment variables that a user sets. Source: AWS's documentation and recorded answers."""

from __future__ import annotations

import msgspec

from shared.domain import networks
from shared.domain.errors import InvalidParameterValueException
from shared.domain.limits import ENVIRONMENT_VARIABLES_BYTES_MAX

CANNOT = "Lambda was unable to configure your environment variables because the environment variables you have provided "
RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)


def validate(variables: dict[str, str]) -> None:
    """Raises InvalidParameterValueException for reserved names, for more than 4 KB, measured as compact JSON, and for a network
    that there is not (lambdad's own)."""
    reserved = [name for name in variables if name in RESERVED]
    if reserved:
        raise InvalidParameterValueException(
            f"{CANNOT}contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if (network := variables.get(networks.VARIABLE, networks.PUBLIC)) not in networks.KINDS:
        raise InvalidParameterValueException(f"{networks.VARIABLE} is one of {', '.join(networks.KINDS)}, not {network}.")
    measured = msgspec.json.encode(variables)
    if len(measured) > ENVIRONMENT_VARIABLES_BYTES_MAX:
        raise InvalidParameterValueException(f"{CANNOT}exceeded the 4KB limit. String measured: {measured.decode()}")
