"""The worker's end of a sandbox's init: what it is told, what it answers, and its end. The other end: zygote/init.py."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.worker.sandbox import sleeper
from services.worker.sandbox.control_socket import ControlSocket
from services.worker.sandbox.spec import SandboxError
from services.worker.sandbox.zygote_process import ZygoteProcess

ANSWER_TIMEOUT_S = 10.0
END_TIMEOUT_S = 10.0

Descriptors = list[int]


class InitLink:
    """on_exit: the runtime process ended, with this status as waitpid gives it. on_extension_exit: so did the extension of this
    name. on_failure: init failed or does not answer; the
    sandbox must be destroyed. Every method that waits raises SandboxError after `fail`."""

    def __init__(
        self,
        on_exit: Callable[[int], None],
        on_extension_exit: Callable[[str, int], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._on_exit = on_exit
        self._on_extension_exit = on_extension_exit
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._control = ControlSocket(self._on_message, self._on_end)
        self._answers: dict[str, asyncio.Future[Descriptors]] = {}
        self._launch_errors: list[tuple[str, str]] = []
        self._sockets = asyncio.Lock()
        self._kills = asyncio.Lock()
        self._zygote: ZygoteProcess | None = None
        self._pidfd = -1
        self._asleep = False
        self._runtime_pid = 0
        self._early_exit: tuple[int, int] | None = None

    async def spawn(self, zygote: ZygoteProcess, request: dict[str, object], fds: Sequence[int]) -> Descriptors:
        """Have the zygote fork init, which gets these descriptors behind its own. Returns when the runtime process is started,
        with /tmp and the listening socket of the sandbox's API; no deadline of its own."""
        ready = self._expect("ready")
        self._zygote = zygote
        try:
            self._pidfd = await zygote.spawn(request, [self._control.far_end.fileno(), *fds])
        finally:
            self._control.far_end.close()
        return await ready

    def attach(self, tmp_mb: int, memory_mb: int, mounts: Sequence[int]) -> None:
        """Give the sandbox its function: /tmp's size, the memory it sees, and the code and the layers as detached mounts."""
        self._control.send({"op": "attach", "tmp_mb": tmp_mb, "memory_mb": memory_mb}, mounts)

    def sleep(self) -> None:
        """Nothing is expected of init any more but to reap and to kill."""
        if self._asleep:
            return
        self._asleep = True
        try:
            self._control.send({"op": "sleep"})
        except SandboxError as error:
            self._on_failure(str(error))

    async def restart(self, request: dict[str, object], fds: Sequence[int]) -> None:
        """Start another runtime process, with nothing of the last one left. fds: of `spawn`, but for the network's."""
        if self._asleep:
            await self._restart_from_outside(request, fds)
            return
        restarted = self._expect("restarted")
        self._control.send({"op": "restart", **request}, [fds[1]])
        await self._answer(restarted, "start a new runtime")

    async def _restart_from_outside(self, request: dict[str, object], fds: Sequence[int]) -> None:
        assert self._zygote is not None
        restarted = self._expect("restarted")
        control = ControlSocket(self._on_message, lambda: self._on_restarter_end(restarted))
        try:
            helper = await self._zygote.spawn({"again": True, **request}, [self._pidfd, control.far_end.fileno(), *fds])
            os.close(helper)
            control.far_end.close()
            await self._answer(restarted, "start a new runtime")
        finally:
            control.close()

    def _on_restarter_end(self, restarted: asyncio.Future[Descriptors]) -> None:
        if not restarted.done():
            self._on_failure("a new runtime was not started")

    async def start_extensions(
        self, names: Sequence[str], environment: Mapping[str, str], output_fd: int
    ) -> list[tuple[str, str]]:
        """Execute external extensions. (name, what the kernel said) of those that cannot be."""
        started = self._expect("extensions")
        self._control.send({"op": "extensions", "names": list(names), "environment": dict(environment)}, [output_fd])
        await self._answer(started, "start the extensions")
        return self._launch_errors

    async def new_socket(self) -> socket.socket:
        """A TCP socket of the sandbox's network."""
        async with self._sockets:
            made = self._expect("socket")
            self._control.send({"op": "socket"})
            return socket.socket(fileno=(await self._answer(made, "make a socket"))[0])

    def terminate_runtime(self) -> None:
        """Ask the runtime process to end; one that has ended is left alone. An init that sleeps is for runtimes without
        extensions, which are not asked."""
        if not self._asleep:
            with contextlib.suppress(SandboxError):
                self._control.send({"op": "terminate"})

    async def kill(self, *, runtime_only: bool = False) -> None:
        """Kill every process but init, or the runtime process alone; returns when they are gone, or about to be."""
        async with self._kills:
            killed = self._expect("killed")
            self._tell_to_kill(runtime_only)
            await self._answer(killed, "kill the runtime")

    def kill_soon(self) -> None:
        """As `kill`, without waiting; a sandbox that has ended is left alone."""
        with contextlib.suppress(SandboxError):
            self._tell_to_kill()

    def _tell_to_kill(self, runtime_only: bool = False) -> None:
        if not self._asleep:
            self._control.send({"op": "kill", "runtime_only": runtime_only})
        elif self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, sleeper.KILL)

    def fail(self, error: SandboxError) -> None:
        """Everyone who waits gets the error."""
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # Seen here: nobody may be waiting for it.

    async def end(self) -> None:
        """Kill init, and with it the pid namespace; the kernel ends it only after every process in it. Raises SandboxError."""
        try:
            if self._pidfd >= 0:
                await self._end_process()
        finally:
            self._control.close()

    async def _end_process(self) -> None:
        ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, _settle, ended)
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            async with asyncio.timeout(END_TIMEOUT_S):
                await ended
        except TimeoutError:
            raise SandboxError("the processes of a sandbox do not end") from None
        finally:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _expect(self, name: str) -> asyncio.Future[Descriptors]:
        answer: asyncio.Future[Descriptors] = self._loop.create_future()
        self._answers[name] = answer
        return answer

    async def _answer(self, answer: asyncio.Future[Descriptors], what: str) -> Descriptors:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await asyncio.shield(answer)
        except TimeoutError:
            reason = f"the sandbox's init did not {what}"
            self._on_failure(reason)
            raise SandboxError(reason) from None

    def _on_message(self, message: dict[str, Any], fds: Descriptors) -> None:
        if "exit" in message:
            self._on_process_exit(message["pid"], message["exit"])
        elif "pid" in message:
            self._on_runtime_started(message["pid"])
        elif "extension_exit" in message:
            self._on_extension_exit(message["extension_exit"], message["status"])
        elif "extensions" in message:
            self._launch_errors = [(str(name), str(text)) for name, text in message["extensions"]]
        if "error" in message:
            self._on_failure(str(message["error"]))
        for name in message:
            answer = self._answers.pop(name, None)
            if answer is not None and not answer.done():
                answer.set_result(fds)
                return
        for fd in fds:
            os.close(fd)

    def _on_runtime_started(self, pid: int) -> None:
        self._runtime_pid = pid
        early, self._early_exit = self._early_exit, None
        if early is not None and early[0] == pid:
            self._on_exit(early[1])

    def _on_process_exit(self, pid: int, status: int) -> None:
        """Of the runtime; of the next one, if it comes by another way than that it has started; or late, of the last one."""
        if pid == self._runtime_pid:
            self._on_exit(status)
        else:
            self._early_exit = (pid, status)

    def _on_end(self) -> None:
        self._on_failure("the sandbox's init process ended")


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
