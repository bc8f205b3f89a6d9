"""A function's configuration from a request: what was sent over what was there, checked beyond the service model."""

from __future__ import annotations

from typing import Any

import msgspec

from services.frontend.apis.lambda_ import environment, feature_rules, layer_attachment
from services.frontend.apis.lambda_.context import ControlContext, Request
from shared.domain.destinations import Use, is_deliverable
from shared.domain.errors import InvalidParameterValueException, ValidationException
from shared.domain.limits import MEMORY_MB_MAX, TMP_MB_MAX
from shared.domain.runtimes import RUNTIMES_CURRENT, RUNTIMES_DEPRECATED, RUNTIMES_NEWER
from shared.registry.records import FileSystem, FunctionConfiguration, LoggingConfiguration, VpcConfiguration


def created(ctx: ControlContext, name: str, request: Request) -> FunctionConfiguration:
    """The configuration that a CreateFunction request asks for. Raises InvalidParameterValueException."""
    if request.get("PackageType", "Zip") != "Zip":
        raise InvalidParameterValueException("Container images are not supported yet: a later release brings them.")
    if not request.get("Runtime") or not request.get("Handler"):
        raise InvalidParameterValueException(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    start = FunctionConfiguration(
        role_arn=request["Role"],
        runtime=request["Runtime"],
        handler=request["Handler"],
        logging=LoggingConfiguration(group=f"/aws/lambda/{name}"),
        architecture=(request.get("Architectures") or ["x86_64"])[0],
    )
    return updated(ctx, start, request)


def updated(ctx: ControlContext, current: FunctionConfiguration, request: Request) -> FunctionConfiguration:
    """`current` with what the request sends. Raises InvalidParameterValueException."""
    _validate_numbers(request, ctx.settings.functions.timeout_s_max)
    feature_rules.check_available(request)
    if request.get("Runtime") is not None:
        validate_runtime(request["Runtime"])
    if request.get("ImageConfig"):
        raise InvalidParameterValueException("Container images are not supported yet: a later release brings them.")
    changes: dict[str, Any] = {}
    for parameter, field in (
        ("Role", "role_arn"),
        ("Runtime", "runtime"),
        ("Handler", "handler"),
        ("Description", "description"),
        ("Timeout", "timeout_s"),
        ("MemorySize", "memory_mb"),
    ):
        if request.get(parameter) is not None:
            changes[field] = request[parameter]
    if request.get("KMSKeyArn") is not None:
        changes["kms_key_arn"] = request["KMSKeyArn"] or None
    changes |= _nested(ctx, current, request)
    configuration = msgspec.structs.replace(current, **changes)
    feature_rules.check_together(configuration)
    return configuration


def validate_runtime(runtime: str) -> None:
    if runtime in RUNTIMES_DEPRECATED:
        raise InvalidParameterValueException(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime not in RUNTIMES_CURRENT and runtime not in RUNTIMES_NEWER:
        raise InvalidParameterValueException(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{', '.join(RUNTIMES_CURRENT)}] or be a valid ARN"
        )


def _validate_numbers(request: Request, timeout_s_max: int) -> None:
    """The service model allows more than AWS gives to ordinary functions."""
    timeout_s = request.get("Timeout")
    if timeout_s is not None and timeout_s > timeout_s_max:
        raise ValidationException(
            f"1 validation error detected: Value '{timeout_s}' at 'timeout' failed to satisfy constraint: "
            f"Member must have value less than or equal to {timeout_s_max}"
        )
    size = (request.get("EphemeralStorage") or {}).get("Size")
    for what, value, most in (
        ("MemorySize", request.get("MemorySize"), MEMORY_MB_MAX),
        ("EphemeralStorage", size, TMP_MB_MAX),
    ):
        if value is not None and value > most:
            raise InvalidParameterValueException(
                f"'{what}' value failed to satisfy constraint: Member must have value less than or equal to {most}"
            )


def _nested(ctx: ControlContext, current: FunctionConfiguration, request: Request) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if (variables := (request.get("Environment") or {}).get("Variables")) is not None:
        environment.validate(variables)
        changes["environment"] = variables
    if (vpc := request.get("VpcConfig")) is not None:
        changes["vpc"] = VpcConfiguration(
            tuple(vpc.get("SubnetIds") or ()),
            tuple(vpc.get("SecurityGroupIds") or ()),
            bool(vpc.get("Ipv6AllowedForDualStack")),
        )
    if (layers := request.get("Layers")) is not None:
        # What they are is looked up in the transaction that takes them.
        layer_attachment.check(ctx, layers)
    if (dead_letter := request.get("DeadLetterConfig")) is not None:
        changes["dead_letter_arn"] = _dead_letter_arn(dead_letter.get("TargetArn"))
    if (logging := request.get("LoggingConfig")) is not None:
        changes["logging"] = _logging(current.logging, logging)
    if (storage := request.get("EphemeralStorage")) is not None:
        changes["tmp_mb"] = storage["Size"]
    if (tracing := request.get("TracingConfig")) is not None and tracing.get("Mode"):
        changes["tracing_mode"] = tracing["Mode"]
    if (snap_start := request.get("SnapStart")) is not None and snap_start.get("ApplyOn"):
        changes["snap_start"] = snap_start["ApplyOn"]
    if (systems := request.get("FileSystemConfigs")) is not None:
        changes["file_systems"] = tuple(_file_system(system) for system in systems)
    return changes


def _file_system(sent: Request) -> FileSystem:
    return FileSystem(sent["Arn"], sent["LocalMountPath"], (sent.get("S3FilesConfig") or {}).get("DirectS3Read"))


def _logging(current: LoggingConfiguration, sent: Request) -> LoggingConfiguration:
    """What was not sent stays as it was; levels come with the JSON format, each INFO by default, and go with Text."""
    format_ = sent.get("LogFormat") or current.format
    application, system = sent.get("ApplicationLogLevel"), sent.get("SystemLogLevel")
    group = sent.get("LogGroup") or current.group
    if format_ == "Text":
        if application is not None or system is not None:
            raise InvalidParameterValueException("ApplicationLogLevel and SystemLogLevel need the LogFormat JSON.")
        return LoggingConfiguration(group=group)
    return LoggingConfiguration(
        group=group,
        format=format_,
        application_level=application or current.application_level or "INFO",
        system_level=system or current.system_level or "INFO",
    )


def _dead_letter_arn(target: str | None) -> str | None:
    """None for an empty target, which takes the queue away."""
    if not target:
        return None
    if not is_deliverable(target, Use.DEAD_LETTER):
        raise InvalidParameterValueException(f"The provided target ARN {target} is not a standard SQS queue or SNS topic.")
    return target
