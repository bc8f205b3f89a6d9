"""Credentials of functions: temporary ones of this cluster, different in each environment, as on AWS.

They sign requests to the cluster's own endpoint. What they may do is what the account may, until roles are enforced. They are
not renewed: an environment ends before they do, and the next one has others.
"""

from __future__ import annotations

import time

from shared.aws.signatures.session_tokens import TemporaryCredentials, issue
from shared.domain.arns import PARTITION
from shared.domain.functions import VersionSpec

VALID_S = 12 * 3600
"""From the environment's start: longer than environments live (lifetimes.py) and an invocation takes."""


def function_credentials(cluster_secret: bytes, spec: VersionSpec) -> TemporaryCredentials:
    """Raises ValueError without a cluster secret, which no worker starts without."""
    return issue(cluster_secret, principal(spec), int(time.time()) + VALID_S)


def principal(spec: VersionSpec) -> str:
    """Who the function is. A session name has at least two characters, so a shorter function name gets AWS's suffix."""
    role = spec.role_arn.rpartition("/")[2]
    session = spec.function_name if len(spec.function_name) > 1 else f"{spec.function_name}@lambda_function"
    return f"arn:{PARTITION}:sts::{spec.account_id}:assumed-role/{role}/{session}"
