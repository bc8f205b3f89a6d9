"""The zygote: an interpreter that has everything imported and forks sandboxes on request. Single-threaded, trusted, root.

It holds no secret: whatever is in its memory is in every function's.
"""

import gc
import importlib
import os
import select
import signal
import socket

from ..sandbox import libc, namespaces, private_root, protocol, seccomp, user
from . import boot, dense, immortal, init

_WARM_UPS = 20
"""Until code has learned what it can."""
_OURS = ("libc", "namespaces", "protocol", "rlimits", "seccomp", "user")
_RUN_BY_FORKS = {"threading", "random", "_weakrefset", "_lambdad.zygote.runtime_process", "_lambdad.inside.runtime"}
_RUN_BY_FORKS.update("_lambdad.sandbox." + name for name in _OURS)
"""Modules, beside those that an event is answered by."""


def serve(command_fd, pool, inside=None):
    """Say when it is ready, then fork a sandbox for each message until the worker hangs up. inside: see boot.py."""
    libc.set_parent_death_signal(signal.SIGKILL)
    of_one_user = namespaces.has_one_user()
    commands = socket.socket(fileno=command_fd)
    try:
        runtime = _load_runtime(inside)
        private_root.prepare()
        seccomp_program = seccomp.build(seccomp.machine())
        warning = None
        if runtime is not None:
            warning = runtime.prepare(pool)
            runtime.warm_up()
            dense.fill_holes()
            dense.gather_code(runtime.warm_up, _RUN_BY_FORKS)
            for _ in range(_WARM_UPS):
                runtime.warm_up()
        gc.collect()
        immortal.make_everything_immortal()
        dense.fill_holes()
        gc.freeze()
    except Exception as error:
        protocol.send_message(commands, {"error": "%s: %s" % (type(error).__name__, error)})
        return
    libc.set_dumpable(False)
    # A program that becomes a sandbox's pid 1 ends others.
    user.drop_bounding_set(keep=(user.KILL,))
    own_pidfd = libc.pidfd_of(os.getpid())
    protocol.send_message(commands, {"ready": True, "warning": warning})
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(commands, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    while True:
        ready = [fd for fd, _event in poll.poll()]
        if wake_read in ready:
            _reap(wake_read)
        if commands.fileno() in ready:
            try:
                request, fds = protocol.receive_message(commands)
            except ConnectionError:
                return
            if not request:
                return
            request["of_one_user"] = of_one_user
            _spawn(commands, request, fds, own_pidfd, seccomp_program, runtime)


def _load_runtime(folder):
    """What runtimes of this zygote are served by; None for those that are programs."""
    if folder is None:
        return None
    boot.add_package("_lambdad.inside", os.path.join(boot.WORKER_DIR, folder))
    return importlib.import_module("_lambdad.inside.runtime")


def _reap(wake_read):
    try:
        os.read(wake_read, 512)
    except BlockingIOError:
        pass
    while True:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def _spawn(commands, request, fds, own_pidfd, seccomp_program, runtime):
    """A sandbox; or a process that starts a runtime in one that is there: its init's pidfd is before the other descriptors."""
    answer = {"id": request["id"]}
    pidfd = -1
    try:
        if request.get("again"):
            pid, pidfd = namespaces.fork_into(fds[0], own_pidfd)
        else:
            pid, pidfd = namespaces.fork_into_sandbox(request["of_one_user"])
        if pid == 0:
            _serve_sandbox(request, fds, seccomp_program, runtime)
        answer["pid"] = pid
    except Exception as error:
        answer["error"] = "%s: %s" % (type(error).__name__, error)
    protocol.send_message(commands, answer, [pidfd] if pidfd >= 0 else [])
    for fd in fds + ([pidfd] if pidfd >= 0 else []):
        os.close(fd)


def _serve_sandbox(request, fds, seccomp_program, runtime):
    """Never returns."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        if request.get("again"):
            status = init.start_again(request, fds[1:], seccomp_program, runtime)
        else:
            status = init.main(request, fds, seccomp_program, runtime)
    finally:
        os._exit(status)
