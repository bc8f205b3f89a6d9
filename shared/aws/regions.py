"""Which regions there are: botocore's list of the partition."""

from __future__ import annotations

import re

import msgspec

from shared.aws.service_model import data_folder
from shared.domain.arns import PARTITION
from shared.domain.errors import ConfigurationError


class _Partition(msgspec.Struct, rename="camel"):
    id: str
    region_regex: str
    regions: dict[str, msgspec.Raw]


class _Partitions(msgspec.Struct):
    partitions: list[_Partition]


def aws_regions() -> tuple[str, ...]:
    """By name. Raises ConfigurationError when botocore has no list."""
    try:
        found = msgspec.json.decode((data_folder() / "partitions.json").read_bytes(), type=_Partitions)
        own = next(one for one in found.partitions if one.id == PARTITION)
    except (OSError, StopIteration, msgspec.DecodeError) as error:
        raise ConfigurationError("botocore's list of AWS's regions was not found: reinstall the dependencies") from error
    # What it lists besides is no region: `aws-global`.
    return tuple(sorted(name for name in own.regions if re.fullmatch(own.region_regex, name)))
