"""Settings that do not go together, and those whose promise this engine cannot keep. Source: AWS documentation and answers."""

from __future__ import annotations

import re

from services.frontend.apis.lambda_.absent import NO_CAPACITY_PROVIDERS, NO_DURABLE_EXECUTIONS
from services.frontend.apis.lambda_.context import Request
from shared.domain.errors import InvalidParameterValueException
from shared.domain.limits import TMP_MB_MIN
from shared.registry.records import FunctionConfiguration

UNAVAILABLE = {
    "AcceleratorConfig": "Accelerators are not available here.",
    "CapacityProviderConfig": NO_CAPACITY_PROVIDERS,
    "DurableConfig": NO_DURABLE_EXECUTIONS,
    "PublishTo": NO_CAPACITY_PROVIDERS,
    "RuntimeConfig": "Customer-managed runtimes are not available here.",
    "TenancyConfig": "Tenant isolation is not available here.",
}
"""A function that was accepted with one of these would run without what its owner relies on."""
_SNAP_START = re.compile(r"java(11|17|2\d)(\.al2023)?|python3\.1[2-9]|dotnet([89]|\d\d)")
SNAP_START_ON = "PublishedVersions"


def check_available(request: Request) -> None:
    """Raises InvalidParameterValueException."""
    for parameter, text in UNAVAILABLE.items():
        if request.get(parameter):
            raise InvalidParameterValueException(text)


def check_together(configuration: FunctionConfiguration) -> None:
    """Raises InvalidParameterValueException when settings of one configuration contradict each other."""
    vpc = configuration.vpc
    if vpc is not None and bool(vpc.subnet_ids) != bool(vpc.security_group_ids):
        raise InvalidParameterValueException("SubnetIds and SecurityIds must coexist or be both empty list.")
    if configuration.file_systems and (vpc is None or not vpc.subnet_ids):
        raise InvalidParameterValueException(
            "Function must be configured to execute in a VPC to reference access point "
            f"{configuration.file_systems[0].access_point_arn}."
        )
    if configuration.snap_start == SNAP_START_ON:
        _check_snap_start(configuration)


def _check_snap_start(configuration: FunctionConfiguration) -> None:
    if _SNAP_START.fullmatch(configuration.runtime) is None:
        raise InvalidParameterValueException(f"{configuration.runtime} is not supported for SnapStart enabled functions.")
    if configuration.file_systems:
        raise InvalidParameterValueException("FileSystemConfigs is not supported for SnapStart enabled functions.")
    if configuration.tmp_mb > TMP_MB_MIN:
        raise InvalidParameterValueException(
            f"EphemeralStorage of more than {TMP_MB_MIN} MB is not supported for SnapStart enabled functions."
        )
