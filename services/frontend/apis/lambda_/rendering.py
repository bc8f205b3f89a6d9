"""Functions and versions as the service model's FunctionConfiguration."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

from services.frontend.apis.lambda_.context import ControlContext, Reply
from services.frontend.apis.lambda_.feature_rules import SNAP_START_ON
from services.frontend.apis.lambda_.naming import arn
from shared.domain.arns import LATEST
from shared.domain.function_state import CREATING_REASON, CREATING_REASON_CODE, State, UpdateStatus
from shared.domain.runtime_versions import runtime_version_arn
from shared.registry.records import FileSystem, FunctionConfiguration, FunctionVersion, LoggingConfiguration, Version

FAILED_REASON_CODE = "InvalidZipFileException"


def configuration(ctx: ControlContext, found: FunctionVersion, qualifier: str | None) -> Reply:
    """The whole configuration; qualifier: as it stands in the ARN, None for none."""
    reply = listed(ctx, found, qualifier)
    reply |= _state(found.version)
    arn_ = runtime_version_arn(ctx.home.region, found.version.configuration.runtime)
    reply["RuntimeVersionConfig"] = {"RuntimeVersionArn": arn_}
    return reply


def listed(ctx: ControlContext, found: FunctionVersion, qualifier: str | None) -> Reply:
    """As lists show it: without states and runtime version."""
    version, set_ = found.version, found.version.configuration
    reply: Reply = {
        "FunctionName": found.function.name,
        "FunctionArn": arn(ctx, found.function.name, qualifier),
        "Runtime": set_.runtime,
        "Role": set_.role_arn,
        "Handler": set_.handler,
        "CodeSize": version.code_bytes,
        "Description": set_.description,
        "Timeout": set_.timeout_s,
        "MemorySize": set_.memory_mb,
        "LastModified": timestamp(version.modified_ms),
        "CodeSha256": base64.b64encode(bytes.fromhex(version.code_sha256)).decode(),
        "Version": version.label,
        "TracingConfig": {"Mode": set_.tracing_mode},
        "RevisionId": version.revision_id,
        "PackageType": "Zip",
        "Architectures": [set_.architecture],
        "EphemeralStorage": {"Size": set_.tmp_mb},
        "SnapStart": _snap_start(version.label, set_),
        "LoggingConfig": _logging(set_.logging),
    }
    return reply | _optional(ctx, set_)


def _snap_start(label: str, set_: FunctionConfiguration) -> Reply:
    applies = set_.snap_start == SNAP_START_ON and label != LATEST
    return {"ApplyOn": set_.snap_start, "OptimizationStatus": "On" if applies else "Off"}


def timestamp(unix_ms: int) -> str:
    """As in 2026-11-22T08:00:00.000+0000."""
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1000:03d}+0000"


def _optional(ctx: ControlContext, set_: FunctionConfiguration) -> Reply:
    """What is shown only once it was set."""
    reply: Reply = {}
    if set_.environment is not None:
        reply["Environment"] = {"Variables": set_.environment}
    if set_.dead_letter_arn:
        reply["DeadLetterConfig"] = {"TargetArn": set_.dead_letter_arn}
    if set_.kms_key_arn:
        reply["KMSKeyArn"] = set_.kms_key_arn
    if set_.layers:
        reply["Layers"] = [{"Arn": layer.arn, "CodeSize": layer.size_bytes} for layer in set_.layers]
    if set_.signing_profile:
        reply["SigningProfileVersionArn"] = set_.signing_profile
    if set_.file_systems:
        reply["FileSystemConfigs"] = [_file_system(one) for one in set_.file_systems]
    if set_.vpc is not None:
        inside = bool(set_.vpc.subnet_ids)
        reply["VpcConfig"] = {
            "SubnetIds": list(set_.vpc.subnet_ids),
            "SecurityGroupIds": list(set_.vpc.security_group_ids),
            "VpcId": f"vpc-{hashlib.sha256(ctx.home.account_id.encode()).hexdigest()[:17]}" if inside else "",
            "Ipv6AllowedForDualStack": set_.vpc.ipv6,
        }
    return reply


def _file_system(system: FileSystem) -> Reply:
    reply: Reply = {"Arn": system.access_point_arn, "LocalMountPath": system.mount_path}
    if system.direct_s3_read is not None:
        reply["S3FilesConfig"] = {"DirectS3Read": system.direct_s3_read}
    return reply


def _logging(logging: LoggingConfiguration) -> Reply:
    reply: Reply = {"LogFormat": logging.format}
    if logging.application_level is not None:
        reply["ApplicationLogLevel"] = logging.application_level
    if logging.system_level is not None:
        reply["SystemLogLevel"] = logging.system_level
    return reply | {"LogGroup": logging.group}


def _state(version: Version) -> Reply:
    status = version.status
    reply: Reply = {"State": status.state.value}
    if status.state is State.PENDING:
        reply |= {"StateReason": CREATING_REASON, "StateReasonCode": CREATING_REASON_CODE}
    elif status.state is State.FAILED:
        reply |= {"StateReason": version.failure, "StateReasonCode": FAILED_REASON_CODE}
    if status.update is not UpdateStatus.NONE:
        reply["LastUpdateStatus"] = status.update.value
    if status.update is UpdateStatus.IN_PROGRESS:
        reply |= {"LastUpdateStatusReason": CREATING_REASON, "LastUpdateStatusReasonCode": CREATING_REASON_CODE}
    elif status.update is UpdateStatus.FAILED:
        reply |= {"LastUpdateStatusReason": version.failure, "LastUpdateStatusReasonCode": FAILED_REASON_CODE}
    return reply
