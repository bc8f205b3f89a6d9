"""The process that will run the user's code: gives up everything that it does not need, then waits to be told what to run.

The order matters: what needs root first, the user last, the filter after it; and only then anything of the user's.
"""

import json
import os
import signal
import socket

from ..sandbox import libc, mounts, namespaces, protocol, rlimits, seccomp, user

_TELEMETRY_FD = 62
"""As recorded."""


def main(kind, argv, variables, uid, descriptors, seccomp_program, runtime):
    """Never returns. A failure before the user's code is said to the worker, which destroys the sandbox. runtime: the module
    that serves (KIND_SERVE)."""
    status = 70
    runtime_fd, go_fd, output_fd, cgroup_fds = descriptors
    stream = socket.socket(fileno=runtime_fd)
    try:
        try:
            _confine(uid, output_fd, cgroup_fds, seccomp_program)
            stream, go_fd = _settle_descriptors(stream, go_fd)
            if kind == protocol.KIND_EXEC_EARLY:
                # The program answers PREPARED by itself, and reads START when its code is there.
                _execute_early(argv, variables, stream, go_fd)
            if kind == protocol.KIND_SERVE:
                runtime.warm_up()
            stream.sendall(protocol.frame(protocol.PREPARED))
        except Exception as error:
            stream.sendall(protocol.frame(protocol.BROKEN, ("%s: %s" % (type(error).__name__, error)).encode()))
            return
        start = _await_start(stream)
        if os.read(go_fd, 1) != b"g":
            return
        os.close(go_fd)
        if kind == protocol.KIND_SERVE:
            status = runtime.run(stream, start)
        else:
            status = _execute(start)
    finally:
        os._exit(status)


def become_extension(path, environment, uid, output_fd, cgroup_fds, seccomp_program, told_fd):
    """Never returns. What the kernel says when the program cannot be executed is written to told_fd, which ends otherwise."""
    try:
        try:
            _confine(uid, output_fd, cgroup_fds, seccomp_program)
            told_fd = os.dup2(told_fd, 3, inheritable=False)
            libc.close_fds_from(4)
            os.chdir("/")
            os.execve(path, [path], environment)
        except OSError as error:
            os.write(told_fd, (error.strerror or str(error)).encode())
    finally:
        os._exit(70)


def _confine(uid, output_fd, cgroup_fds, seccomp_program):
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for fd in cgroup_fds:
        os.write(fd, b"0")
    namespaces.hide_cgroup_path()
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)
    os.setsid()
    rlimits.apply()
    user.drop_privileges(uid)
    seccomp.load(seccomp_program)


def _settle_descriptors(stream, go_fd):
    """Leave open 0, 1, 2, the stream (3) and the go pipe (4)."""
    high_stream = os.dup2(stream.detach(), 100, inheritable=False)
    high_go = os.dup2(go_fd, 101, inheritable=False)
    os.dup2(high_stream, protocol.RUNTIME_FD, inheritable=False)
    os.dup2(high_go, 4, inheritable=False)
    libc.close_fds_from(5)
    return socket.socket(fileno=protocol.RUNTIME_FD), 4


def _await_start(stream):
    """The one START message. Ends the process when the worker hangs up."""
    data = b""
    while len(data) < protocol.HEADER.size:
        data = _more(stream, data)
    length, kind = protocol.HEADER.unpack_from(data)
    if kind != protocol.START or length > protocol.FRAME_BYTES_MAX:
        os._exit(70)
    while len(data) < protocol.HEADER.size + length:
        data = _more(stream, data)
    return json.loads(data[protocol.HEADER.size :])


def _more(stream, data):
    chunk = stream.recv(65536)
    if not chunk:
        os._exit(0)
    return data + chunk


def _execute_early(argv, more_variables, stream, go_fd):
    os.set_inheritable(stream.fileno(), True)
    os.set_inheritable(go_fd, True)
    os.chdir(mounts.CODE)
    variables = {"LANG": "en_US.UTF-8", "LD_LIBRARY_PATH": mounts.LIBRARY_PATH, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    variables.update(more_variables)
    _open_telemetry(variables)
    os.execve(argv[0], argv, variables)


def _open_telemetry(variables):
    """The descriptor that runtimes write records to, rather than lines: the same pipe (sandbox/log_frames.py)."""
    if variables.get("_LAMBDA_TELEMETRY_LOG_FD") == str(_TELEMETRY_FD):
        os.dup2(1, _TELEMETRY_FD)


def _execute(start):
    """Become the first of the given programs that can be executed, in the function's folder and environment."""
    os.chdir(mounts.CODE)
    _open_telemetry(start["environment"])
    failures = []
    for argv in start["programs"]:
        try:
            os.execve(argv[0], argv, start["environment"])
        except OSError as failure:
            failures.append(failure)
    # A program that is there and cannot be executed is what went wrong, not that there is none in the other place.
    error = next((failure for failure in failures if os.path.lexists(failure.filename)), failures[0])
    os.write(2, ("%s\n" % error).encode())
    return 127 if isinstance(error, FileNotFoundError) else 126
