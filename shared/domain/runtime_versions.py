"""The version of a runtime that functions run on: its name as the log tells it, and its ARN.

A cluster has one version of each runtime, the interpreter that its workers run.
"""

from __future__ import annotations

import functools
import hashlib
import re

from shared.domain.arns import PARTITION


@functools.cache
def runtime_version(runtime: str) -> str:
    """`python:3.12.v1` for python3.12: language, version and the number of our runtime release, which is 1 so far."""
    found = re.fullmatch(r"([a-z]+)\.?([0-9a-z.]*?)(\.x)?", runtime)
    language, version = (found[1], found[2]) if found else (runtime, "")
    return f"{language}:{version}.v1" if version else f"{language}.v1"


@functools.cache
def runtime_version_arn(region: str, runtime: str) -> str:
    """The same wherever it is shown: configurations, runtime management, logs, telemetry."""
    return f"arn:{PARTITION}:lambda:{region}::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"
