"""When a function's runtime process must become a program at its start, instead of serving as it was prepared."""

from __future__ import annotations

from pathlib import Path

from services.worker.runtimes.families import Family
from services.worker.sandbox.spec import SandboxSpec

_READ_AT_START = ("NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "NODE_ICU_DATA", "UV_THREADPOOL_SIZE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that Node reads while it starts: a prepared process has started without them."""
_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"


def programs(family: Family, spec: SandboxSpec) -> list[list[str]]:
    """Command lines of which the first that can be executed runs; empty when the prepared process serves."""
    if family.name == "provided":
        return [["/var/task/bootstrap"], ["/opt/bootstrap"]]
    wrapper = spec.environment.get(_WRAPPER)
    if family.name == "nodejs":
        command = [*family.argv[:2]]
        needed = wrapper is not None or any(name in spec.environment for name in _READ_AT_START)
    else:
        command = [f"/var/lang/bin/{family.interpreter.name}", "-m", "awslambdaric", spec.handler]
        needed = wrapper is not None
    if not needed:
        return []
    return [[wrapper, *command] if wrapper else command]


def missing_entrypoint(family: Family, spec: SandboxSpec) -> tuple[str, str] | None:
    """(type, text) of the platform's error when a custom runtime has nothing that can be executed."""
    if family.name != "provided":
        return None
    for folder in (spec.code_dir, spec.layers_dir):
        if folder is not None and _is_executable(folder / "bootstrap"):
            return None
    return "Runtime.InvalidEntrypoint", "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"


def _is_executable(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_mode & 0o111 != 0
    except OSError:
        return False
