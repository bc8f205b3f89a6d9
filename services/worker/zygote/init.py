"""A sandbox's pid 1: makes its mounts and network, starts its runtime process and extensions, reaps, ends everything when told.

Trusted, root, never runs anything of the user's; no user's process can see, signal or trace it. Descriptors that it keeps:
its socket to the worker, the write end of the output pipe, and the cgroups' procs files, for runtimes started later.

While nothing is to be done but to reap, it is a program that does just that (sandbox/sleeper.py). Another runtime is then
started by a further fork of the zygote, which comes into the sandbox for it (`start_again`).
"""

import os
import resource
import select
import signal
import socket
import time

from ..sandbox import host_figures, libc, mounts, namespaces, private_root, process_marks, protocol, sleeper, user
from ..sandbox.network import inside
from . import runtime_process

_LOOK_S = 0.0005
"""Between two looks at what pid 1 does."""


def main(request, fds, seccomp_program, runtime):
    """Serve the worker's control socket until it is closed; returns the process's exit status.

    fds: control, output, runtime's stream, network namespace, then cgroup.procs files. runtime: the module that serves, if
    any. The exit ends the pid namespace, and so the sandbox.
    """
    libc.set_parent_death_signal(signal.SIGKILL)
    fds = _keep_only(fds)
    control = socket.socket(fileno=fds[0])
    try:
        if request["of_one_user"]:
            user.become_alone(request["uid"])
        libc.set_dumpable(False)
        sandbox = Init(control, request, fds, seccomp_program, runtime)
        sandbox.prepare()
    except Exception as error:
        protocol.send_message(control, {"error": "%s: %s" % (type(error).__name__, error)})
        return 1
    try:
        sandbox.serve()
    except ConnectionError:
        pass
    return 0


def start_again(request, fds, seccomp_program, runtime):
    """In a process that has come into the sandbox: start a fresh runtime, with nothing else left running. Returns the exit
    status. fds: as of `main`."""
    libc.set_parent_death_signal(signal.SIGKILL)
    libc.set_dumpable(False)
    control, output_fd, runtime_fd, *cgroup_fds = _keep_only(fds)
    control = socket.socket(fileno=control)
    try:
        private_root.enter()
        proc_fd = mounts.own_proc()
        process_marks.fix_again(request["uid"], "/proc/self/fd/%d" % proc_fd)
        _await_sleeper("/proc/self/fd/%d/1/exe" % proc_fd)
        os.close(proc_fd)
        _kill_others()
        go_read, go_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(go_read, 1)
            runtime_process.main(
                request["kind"],
                request["argv"],
                request["variables"],
                request["uid"],
                (runtime_fd, go_read, output_fd, cgroup_fds),
                seccomp_program,
                runtime,
            )
        libc.send_signal_value(1, sleeper.RUNTIME, pid)
        os.write(go_write, b"bg")  # It begins only now, so that its end cannot be missed; and may run the user's code.
        protocol.send_message(control, {"restarted": True, "pid": pid})
    except Exception as error:
        protocol.send_message(control, {"error": "restart: %s: %s" % (type(error).__name__, error)})
        return 1
    return 0


def _await_sleeper(executable):
    """Pid 1 may only just become it, and would not know what it is told before."""
    while not os.readlink(executable).endswith(mounts.SLEEPER):
        time.sleep(_LOOK_S)


def _kill_others():
    """Every process of the namespace but this one and its pid 1, which reaps them."""
    try:
        while True:
            os.kill(-1, signal.SIGKILL)
            time.sleep(_LOOK_S)
    except ProcessLookupError:
        pass


def _keep_only(fds):
    """Move the given descriptors to 3, 4, ... and close every other but 0, 1 and 2."""
    high = [os.dup2(fd, 100 + position, inheritable=False) for position, fd in enumerate(fds)]
    kept = [os.dup2(fd, 3 + position, inheritable=False) for position, fd in enumerate(high)]
    libc.close_fds_from(3 + len(kept))
    return kept


def _let_go(go_write):
    try:
        os.write(go_write, b"g")
    except BrokenPipeError:
        pass  # The runtime process has ended, which is reported when it is reaped.


class Init:
    def __init__(self, control, request, fds, seccomp_program, runtime):
        self.control = control
        self.uid = request["uid"]
        self.of_one_user = request["of_one_user"]
        self.kind = request["kind"]
        self.argv = request.get("argv")
        self.variables = request.get("variables", {})
        self.tmp_mb = request["tmp_mb"]
        self.output_fd, self.runtime_fd, self.network_fd = fds[1:4]
        self.cgroup_fds = fds[4:]
        self.seccomp_program = seccomp_program
        self.runtime = runtime
        self.runtime_pid = None
        self.extensions = {}
        self.attached = False
        self.memory_mb = None
        self.go_write = -1

    def prepare(self):
        os.setsid()
        os.umask(0o022)
        if self.of_one_user:
            inside.make_own()
        else:
            inside.enter(self.network_fd)
        self.enter_root()
        socket.sethostname("sandbox")
        mounts.attach_tmp(self.tmp_mb)
        process_marks.fix(self.uid)
        listener = inside.listen_for_runtime()
        self.wake_read, wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self.wake_write = wake_write
        self.start_runtime(self.runtime_fd)
        # They may come while it is about to sleep.
        signal.pthread_sigmask(signal.SIG_BLOCK, {sleeper.KILL})
        tmp_fd = os.open("/tmp", os.O_PATH | os.O_DIRECTORY)
        protocol.send_message(self.control, {"ready": True, "pid": self.runtime_pid}, [tmp_fd, listener.fileno()])
        os.close(tmp_fd)
        listener.close()

    def enter_root(self):
        private_root.make()
        mounts.attach_proc(mounts.SANDBOX)
        for path, text in user.accounts(self.uid).items():
            os.close(private_root.place(self.uid, path, text))
        self.memory_fd = private_root.place(self.uid, host_figures.MEMORY, host_figures.memory(0))
        self.sleeper_fd = os.open(mounts.SLEEPER, os.O_PATH | os.O_CLOEXEC)
        private_root.enter()
        # The root's own: a descriptor of the host's device could be locked and watched by all who have it.
        null_fd = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null_fd, fd)
        os.close(null_fd)

    def start_runtime(self, runtime_fd):
        """Fork the runtime process. It may run the user's code only after the byte in its go pipe."""
        go_read, go_write = os.pipe()
        self.shares_folder = self.kind == protocol.KIND_EXEC_EARLY and not self.attached
        pid = namespaces.fork_sharing_folder() if self.shares_folder else os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            descriptors = (runtime_fd, go_read, self.output_fd, self.cgroup_fds)
            runtime_process.main(
                self.kind, self.argv, self.variables, self.uid, descriptors, self.seccomp_program, self.runtime
            )
        self.runtime_pid = pid
        os.close(go_read)
        os.close(runtime_fd)
        if self.go_write >= 0:
            os.close(self.go_write)
        self.go_write = go_write
        self.bound_memory(pid)
        if self.attached:
            _let_go(go_write)

    def bound_memory(self, pid):
        """Where no control group does it: what this process and each of its children may have of their own."""
        if pid is not None and self.memory_mb is not None and self.of_one_user and not self.cgroup_fds:
            limit = self.memory_mb * 1024 * 1024
            try:
                resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))
            except ProcessLookupError:
                pass  # It has ended.

    def serve(self):
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake_read, select.POLLIN)
        control_fd = self.control.fileno()
        while True:
            ready = [fd for fd, _event in poll.poll()]
            if self.wake_read in ready:
                self.reap()
            if control_fd in ready:
                message, fds = protocol.receive_message(self.control)
                if not message:
                    return
                try:
                    getattr(self, "on_" + message["op"])(message, fds)
                except OSError as error:
                    protocol.send_message(self.control, {"error": "%s: %s" % (message["op"], error)})

    def on_attach(self, message, fds):
        """Mount what the worker sent, code first, then layers, and let the runtime go on."""
        os.pwrite(self.memory_fd, host_figures.memory(message["memory_mb"]).encode(), 0)
        if message["tmp_mb"] != self.tmp_mb:
            mounts.resize_tmp(message["tmp_mb"])
        for fd, target in zip(fds, (mounts.CODE, mounts.LAYERS)):
            mounts.attach(fd, target)
            os.close(fd)
        if len(fds) < 2:
            mounts.attach_nothing(mounts.LAYERS)
        self.attached = True
        if self.shares_folder:
            self._move_runtime()
        self.memory_mb = message["memory_mb"]
        self.bound_memory(self.runtime_pid)
        _let_go(self.go_write)

    def _move_runtime(self):
        """The runtime's working folder is what was at CODE when it started: nothing. Not every program can change it."""
        os.chdir(mounts.CODE)
        namespaces.leave_folder()
        os.chdir("/")

    def on_restart(self, message, fds):
        """Start a fresh runtime after the last one ended, with nothing else left running."""
        self.kill_all()
        self.kind = message["kind"]
        self.argv = message.get("argv")
        self.start_runtime(fds[0])
        protocol.send_message(self.control, {"restarted": True, "pid": self.runtime_pid})

    def on_sleep(self, _message, _fds):
        """Never returns."""
        signal.pthread_sigmask(signal.SIG_BLOCK, sleeper.SIGNALS)
        libc.send_signal_value(os.getpid(), sleeper.RUNTIME, self.runtime_pid or 0)
        os.set_inheritable(sleeper.CONTROL_FD, True)
        os.execve(self.sleeper_fd, ["init"], {})

    def on_extensions(self, message, fds):
        """Execute the external extensions; what they write goes to the descriptor that came along."""
        failed = []
        for name in message["names"]:
            error = self.start_extension(mounts.EXTENSIONS + "/" + name, message["environment"], fds[0])
            if error:
                failed.append([name, error])
        os.close(fds[0])
        protocol.send_message(self.control, {"extensions": failed})

    def start_extension(self, path, environment, output_fd):
        """What the kernel said if it cannot be executed, else an empty text."""
        told_read, told_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            runtime_process.become_extension(
                path, environment, self.uid, output_fd, self.cgroup_fds, self.seccomp_program, told_write
            )
        os.close(told_write)
        self.bound_memory(pid)
        self.extensions[pid] = os.path.basename(path)
        with open(told_read, encoding="utf-8", errors="replace") as told:
            error = told.read(512)
        if error:
            # Its end says nothing new.
            del self.extensions[pid]
        return error

    def on_terminate(self, _message, _fds):
        """Ask the runtime process to end."""
        if self.runtime_pid is not None:
            os.kill(self.runtime_pid, signal.SIGTERM)

    def on_kill(self, message, _fds):
        if message.get("runtime_only"):
            if self.runtime_pid is not None:
                os.kill(self.runtime_pid, signal.SIGKILL)
        else:
            self.kill_all()
        protocol.send_message(self.control, {"killed": True})

    def on_socket(self, _message, _fds):
        """A socket of this network, for the worker to connect to a program in here."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
            protocol.send_message(self.control, {"socket": True}, [made.fileno()])

    def kill_all(self):
        """Kill and reap every other process of the namespace. Bounded by the kernel: a killed process cannot refuse."""
        while True:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                pass
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            self.ended(pid, status)

    def reap(self):
        try:
            os.read(self.wake_read, 512)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.ended(pid, status)

    def ended(self, pid, status):
        if pid == self.runtime_pid:
            self.runtime_pid = None
            protocol.send_message(self.control, {"exit": status, "pid": pid})
        elif pid in self.extensions:
            protocol.send_message(self.control, {"extension_exit": self.extensions.pop(pid), "status": status})
