"""What runs in the process that reads one package, and what is said between it and its parent. Standard library only."""

from __future__ import annotations

import json
import os
import resource
import sys

from shared.packages.archive import Contents
from shared.packages.refusals import (
    PackageRefusedError,
    PackageTooLargeError,
    PackageUnreadableError,
    UnpackError,
    shown,
)
from shared.packages.task import Task

MEMORY_BYTES_MAX = 1024 * 1024 * 1024
"""Of address space: the largest package, its list of entries and the interpreter, more than twice."""
LOW_PRIORITY = 19
_RAISED: dict[str, type[PackageRefusedError | UnpackError]] = {
    kind.__name__: kind for kind in (PackageRefusedError, PackageTooLargeError, PackageUnreadableError, UnpackError)
}


def argument(fd: int, task: Task) -> str:
    """fd: a descriptor of a file with the package, that the process inherits."""
    return json.dumps([fd, *task])


def main() -> None:
    fd, *task = json.loads(sys.argv[1])
    os.nice(LOW_PRIORITY)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        contents = Task(*task).carry_out(os.pread(fd, os.fstat(fd).st_size, 0))
        answer = ["", *contents]
    except (PackageRefusedError, UnpackError) as error:
        answer = [type(error).__name__, str(error)]
    sys.stdout.write(json.dumps(answer))


def contents_of(answer: bytes, problem: bytes) -> Contents:
    """What the process said, or its error raised. problem: what it wrote when it could not say anything."""
    try:
        kind, *values = json.loads(answer)
    except ValueError:
        last = problem.decode(errors="replace").strip().rpartition("\n")[2]
        raise UnpackError(f"a package's reader ended without an answer: {shown(last)}") from None
    if kind:
        raise _RAISED[kind](values[0])
    return Contents(*values)
