"""A version to run, as tests need it."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.domain.functions import VersionSpec

SPEC = VersionSpec(
    version_key="fn-1:1",
    function_id="fn-1",
    function_name="greeter",
    function_arn="arn:aws:lambda:us-east-1:000000000000:function:greeter",
    version="$LATEST",
    account_id="000000000000",
    region="us-east-1",
    runtime="python3.12",
    handler="app.handler",
    code_sha256="0" * 64,
    memory_mb=128,
    timeout_s=3,
    tmp_mb=512,
    environment={},
    role_arn="arn:aws:iam::000000000000:role/r",
    log_group="/aws/lambda/greeter",
)


def version(**changes: Any) -> VersionSpec:
    return msgspec.structs.replace(SPEC, **changes)
