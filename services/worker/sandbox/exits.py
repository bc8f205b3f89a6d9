"""How the end of a runtime process reads in the platform's terms."""

from __future__ import annotations

import os
import signal

from services.worker.sandbox.spec import Failure, RuntimeExit

_SIGNAL_NAMES: dict[int, str] = {
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGQUIT: "quit",
    signal.SIGILL: "illegal instruction",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGKILL: "killed",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGPIPE: "broken pipe",
    signal.SIGALRM: "alarm clock",
    signal.SIGTERM: "terminated",
}
"""As the platform's error texts name them."""


def runtime_exit(status: int, *, memory_kill: bool, init_error: bytes | None) -> RuntimeExit:
    """status: as waitpid gives it. memory_kill: the kernel killed a process of the sandbox for its memory."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return RuntimeExit(
            exit_status=None,
            signal=_SIGNAL_NAMES.get(number, f"signal {number}"),
            out_of_memory=memory_kill and number == signal.SIGKILL,
            init_error=init_error,
        )
    return RuntimeExit(exit_status=os.waitstatus_to_exitcode(status), signal=None, init_error=init_error)


def of_failure(failure: Failure) -> RuntimeExit:
    """How a sandbox ends whose extension has failed."""
    if failure.out_of_memory:
        return RuntimeExit(None, "killed", out_of_memory=True)
    return RuntimeExit(None, None, platform_error=(failure.error_type, failure.text))


def extension_text(status: int) -> str:
    """How the end of an external extension reads in the error that callers see."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"signal: {_SIGNAL_NAMES.get(number, f'signal {number}')}"
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code else "exit code 0"
