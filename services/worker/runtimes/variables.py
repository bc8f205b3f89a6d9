"""The variables that a function sees: AWS's, its family's, its own."""

from __future__ import annotations

from services.worker.runtimes.contract import RuntimeFamily
from services.worker.sandbox import mounts
from services.worker.sandbox.network.addresses import RUNTIME_API, RUNTIME_API_PORT
from services.worker.sandbox.spec import SandboxSpec
from shared.domain.functions import VersionSpec

_API = f"{RUNTIME_API}:{RUNTIME_API_PORT}"


def reads_other_libraries(spec: SandboxSpec) -> bool:
    """Whether the function has a say in what its runtime's loader finds: a process that was started ahead does not listen."""
    return (
        spec.environment.get("LD_LIBRARY_PATH", mounts.LIBRARY_PATH) != mounts.LIBRARY_PATH or "LD_PRELOAD" in spec.environment
    )


def function_variables(
    family: RuntimeFamily,
    spec: VersionSpec,
    *,
    log_stream: str,
    access_key_id: str,
    secret_access_key: str,
    session_token: str,
    endpoint_url: str | None = None,
) -> dict[str, str]:
    """Every variable of the runtime process: AWS's, the function's own, and the ones that a function may not set.

    endpoint_url: where the function reaches the cluster's endpoint, which AWS's SDKs then use; AWS sets no such variable.
    Source: recorded from python3.14, and the documentation for the other runtimes.
    """
    variables = {} if endpoint_url is None else {"AWS_ENDPOINT_URL": endpoint_url}
    variables |= {
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": f"{RUNTIME_API}:2000",
        "LANG": "en_US.UTF-8",
        "LD_LIBRARY_PATH": mounts.LIBRARY_PATH,
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "PWD": "/var/task",
        "SHLVL": "0",
        "TZ": ":UTC",
        "_AWS_XRAY_DAEMON_ADDRESS": RUNTIME_API,
        "_AWS_XRAY_DAEMON_PORT": "2000",
    }
    variables |= family.variables(spec.runtime)
    variables |= spec.environment
    variables |= {
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_DEFAULT_REGION": spec.region,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": spec.function_name,
        "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_RUNTIME_API": _API,
        "AWS_REGION": spec.region,
        "AWS_SECRET_ACCESS_KEY": secret_access_key,
        "AWS_SESSION_TOKEN": session_token,
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": "/var/task",
        "_HANDLER": spec.handler,
    }
    execution_environment = family.execution_environment(spec.runtime)
    if execution_environment is not None:
        variables["AWS_EXECUTION_ENV"] = execution_environment
    if spec.log_format == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        variables["AWS_LAMBDA_LOG_LEVEL"] = spec.application_log_level or "INFO"
    return variables
