"""One sandbox as the worker holds it, from the pool to its end. How it is made: launch.py."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from services.worker.runtime_api.api import RuntimeApi
from services.worker.runtimes.contract import Recipe
from services.worker.sandbox import exits, mounts, protocol
from services.worker.sandbox.cgroups import Cgroup
from services.worker.sandbox.control import ControlSocket
from services.worker.sandbox.frame_stream import FrameStream
from services.worker.sandbox.output import OutputPipe
from services.worker.sandbox.spec import (
    Flow,
    InvalidInvocationError,
    OnEnd,
    ResponseStream,
    RuntimeExit,
    RuntimeInvocation,
    RuntimeReady,
    RuntimeResponse,
    SandboxError,
    SandboxSpec,
)
from services.worker.sandbox.uids import UidPool
from services.worker.sandbox.zygote_process import ZygoteProcess

INIT_ANSWER_TIMEOUT_S = 10.0
DESTROY_TIMEOUT_S = 10.0
_REMOVE_RETRY_S = (0.0, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.0)
_TMP_MB_DEFAULT = 512

_Ended = RuntimeReady | RuntimeResponse | RuntimeExit


class LaunchedSandbox:
    """Implements `spec.Sandbox`."""

    def __init__(self, uid: int, recipe: Recipe, cgroup: Cgroup, uids: UidPool) -> None:
        self.uid = uid
        self.recipe = recipe
        self._cgroup = cgroup
        self._uids = uids
        self._loop = asyncio.get_running_loop()
        self._output = OutputPipe(uid)
        self._control = ControlSocket(self._on_control, self._on_init_end)
        self._stream: FrameStream | None = None
        self._api: RuntimeApi | None = None
        self._pidfd = -1
        self._spec: SandboxSpec | None = None
        self._programs: list[list[str]] = []
        self._missing_entrypoint: tuple[str, str] | None = None
        self._waiter: asyncio.Future[_Ended] | None = None
        self._answers: dict[str, asyncio.Future[list[int]]] = {}
        self._prepared = self._loop.create_future()
        self._ready = False
        self._on_end: OnEnd | None = None
        self._response_stream: ResponseStream | None = None
        self._ended: RuntimeExit | None = None
        self._failure: str | None = None
        self._init_error: bytes | None = None
        self._out_of_memory_kills = 0
        self._peak_bytes = 0
        self._destroying: asyncio.Task[None] | None = None

    @property
    def broken(self) -> bool:
        return self._failure is not None or self._ended is not None

    # Making

    async def prepare(self, zygote: ZygoteProcess, null_fd: int) -> None:
        far_stream = self._new_stream()
        procs_fds: list[int] = []
        try:
            procs_fds = self._cgroup.open_procs()
            ready = self._expect("ready")
            self._pidfd = await zygote.spawn(
                {
                    "uid": self.uid,
                    "tmp_mb": _TMP_MB_DEFAULT,
                    "kind": self.recipe.kind,
                    "argv": list(self.recipe.argv),
                    "listens": self.recipe.http,
                },
                [self._control.far_end.fileno(), self._output.write_fd, null_fd, far_stream.fileno(), *procs_fds],
            )
        finally:
            far_stream.close()
            self._control.far_end.close()
            self._output.close_write_end()
            for fd in procs_fds:
                os.close(fd)
        listeners = await ready
        if listeners:
            await self._serve_api(listeners)
        await self._prepared

    async def _serve_api(self, listeners: list[int]) -> None:
        self._api = RuntimeApi(socket.socket(fileno=listeners[0]), self)
        await self._api.start()

    def _new_stream(self) -> socket.socket:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        if self._stream is not None:
            self._stream.close()
        self._stream = FrameStream(near, self)
        return far

    # The contract

    async def start(self, spec: SandboxSpec, on_output: Callable[[bytes], None]) -> None:
        self._raise_failure()
        self._spec = spec
        self._output.deliver_to(on_output)
        mount_fds: list[int] = []
        try:
            self._cgroup.set_memory_mb(spec.memory_mb)
            for folder in (spec.code_dir, spec.layers_dir):
                if folder is not None:
                    mount_fds.append(mounts.detached_copy(str(folder)))
            self._control.send({"op": "attach", "tmp_mb": spec.tmp_mb}, mount_fds)
        except OSError as error:
            raise self._fail(f"the sandbox cannot be given its function: {error}") from error
        finally:
            for fd in mount_fds:
                os.close(fd)
        self._missing_entrypoint = self.recipe.family.missing_entrypoint(spec)
        self._programs = self.recipe.family.programs(self.recipe, spec)
        if self._programs and self.recipe.kind != protocol.KIND_EXEC:
            await self._become_program()
        else:
            self._send_start()

    async def _become_program(self) -> None:
        """The prepared process will not do: what this function runs must read its variables while it starts."""
        if self._api is None:
            listening = self._expect("listening")
            self._control.send({"op": "listen"})
            await self._serve_api(await self._answer(listening, "listen"))
        await self._replace_runtime()

    def _send_start(self) -> None:
        assert self._stream is not None
        assert self._spec is not None
        start: dict[str, object] = {"handler": self._spec.handler, "environment": self._spec.environment}
        if self._programs:
            start["programs"] = self._programs
        self._stream.start(start)

    async def initialised(self) -> RuntimeReady | RuntimeExit:
        if self._ready:
            return RuntimeReady()
        end = await self._wait()
        if isinstance(end, RuntimeReady):
            self._limit_cpu()
        assert not isinstance(end, RuntimeResponse)
        return end

    def invoke(self, invocation: RuntimeInvocation, on_end: OnEnd, stream: ResponseStream | None = None) -> None:
        self._raise_failure()
        if self._ended is not None:
            on_end(self._ended)
            return
        transport = self._api or self._stream
        assert transport is not None
        assert self._on_end is None, "one caller at a time"
        self._on_end = on_end
        self._response_stream = stream
        try:
            transport.invoke(invocation)
        except InvalidInvocationError:
            self._on_end = self._response_stream = None
            raise

    async def restart(self) -> None:
        self._raise_failure()
        with contextlib.suppress(OSError):
            self._cgroup.set_cpu(None)
            self._cgroup.reset_peak()
        self._peak_bytes = 0
        await self._replace_runtime()

    async def _replace_runtime(self) -> None:
        kind = protocol.KIND_EXEC if self._programs else self.recipe.kind
        far_stream = self._new_stream()
        if self._api is not None:
            self._api.runtime_started()
        try:
            restarted = self._expect("restarted")
            self._control.send({"op": "restart", "kind": kind, "argv": list(self.recipe.argv)}, [far_stream.fileno()])
        finally:
            far_stream.close()
        await self._answer(restarted, "start a new runtime")
        self._ended = None
        self._ready = False
        self._init_error = None
        self._send_start()

    async def kill_runtime(self) -> None:
        if self._failure is not None or self._destroying is not None:
            return
        killed = self._answers.get("killed")
        if killed is None:
            killed = self._expect("killed")
            self._control.send({"op": "kill"})
        await self._answer(killed, "kill the runtime")

    async def destroy(self) -> None:
        if self._destroying is None:
            self._destroying = self._loop.create_task(self._destroy())
        await asyncio.shield(self._destroying)

    def max_memory_bytes(self) -> int:
        if self._destroying is None:
            with contextlib.suppress(OSError):
                self._peak_bytes = max(self._peak_bytes, self._cgroup.peak_bytes())
        return self._peak_bytes

    # What the runtime says (frame_stream.RuntimeEvents)

    def on_prepared(self) -> None:
        if not self._prepared.done():
            self._prepared.set_result(None)

    def on_ready(self) -> None:
        if self._ready:
            self.on_violation("the runtime was ready twice")
            return
        self._ready = True
        self._settle(RuntimeReady())

    def on_response(self, response: RuntimeResponse) -> None:
        if self._on_end is None:
            self.on_violation("the runtime answered unasked")
            return
        self._output.drain()
        self._settle(response)

    def on_stream(self, content_type: str, flow: Flow) -> ResponseStream | None:
        if self._on_end is not None and self._response_stream is not None:
            self._response_stream.begin(content_type, flow)
            return self._response_stream
        return None

    def on_init_error(self, document: bytes) -> None:
        self._init_error = document

    def on_broken(self, reason: str) -> None:
        self._fail(f"the sandbox could not be made as promised: {reason}")

    def on_violation(self, reason: str) -> None:
        """The function's code meddled with the stream: its process ends, which is reported as any other end."""
        with contextlib.suppress(SandboxError):
            self._control.send({"op": "kill"})

    # What init says

    def _on_control(self, message: dict[str, Any], fds: list[int]) -> None:
        if "exit" in message:
            self._on_exit(message["exit"])
        elif "error" in message:
            self._fail(str(message["error"]))
        for name in message:
            answer = self._answers.pop(name, None)
            if answer is not None and not answer.done():
                answer.set_result(fds)
                return
        for fd in fds:
            os.close(fd)

    def _on_exit(self, status: int) -> None:
        if self._stream is not None:
            self._stream.drain()
        self._output.drain()
        try:
            kills = self._cgroup.out_of_memory_kills()
        except OSError:
            kills = self._out_of_memory_kills
        self._ended = exits.runtime_exit(status, memory_kill=kills > self._out_of_memory_kills, init_error=self._init_error)
        if self._missing_entrypoint is not None:
            self._ended = msgspec.structs.replace(self._ended, platform_error=self._missing_entrypoint)
        self._out_of_memory_kills = kills
        if not self._prepared.done():
            self._fail("the runtime process ended before it was given anything")
        self._settle(self._ended)

    def _on_init_end(self) -> None:
        if self._destroying is None:
            self._fail("the sandbox's init process ended")

    # Plumbing

    async def _wait(self) -> _Ended:
        self._raise_failure()
        if self._ended is not None:
            return self._ended
        assert self._waiter is None, "one caller at a time"
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _settle(self, end: _Ended) -> None:
        if self._on_end is not None and not isinstance(end, RuntimeReady):
            self._answer_caller(end)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(end)

    def _answer_caller(self, end: RuntimeResponse | RuntimeExit | SandboxError) -> None:
        on_end, self._on_end, self._response_stream = self._on_end, None, None
        if on_end is not None:
            on_end(end)

    def _expect(self, name: str) -> asyncio.Future[list[int]]:
        answer: asyncio.Future[list[int]] = self._loop.create_future()
        self._answers[name] = answer
        return answer

    async def _answer(self, answer: asyncio.Future[list[int]], what: str) -> list[int]:
        try:
            async with asyncio.timeout(INIT_ANSWER_TIMEOUT_S):
                return await asyncio.shield(answer)
        except TimeoutError:
            raise self._fail(f"the sandbox's init did not {what}") from None

    def _limit_cpu(self) -> None:
        assert self._spec is not None
        try:
            self._cgroup.set_cpu(self._spec.memory_mb)
        except OSError as error:
            raise self._fail(f"the CPU cannot be limited: {error}") from error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise SandboxError(self._failure)

    def _fail(self, reason: str) -> SandboxError:
        """Everyone who waits gets the error, and so does every later call."""
        if self._failure is None:
            self._failure = reason
        error = SandboxError(self._failure)
        waiting: list[asyncio.Future[Any]] = [*self._answers.values(), self._prepared]
        if self._waiter is not None:
            waiting.append(self._waiter)
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # Seen here: nobody may be waiting for it.
        self._answers.clear()
        self._answer_caller(error)
        return error

    async def _destroy(self) -> None:
        self.max_memory_bytes()
        self._fail("the sandbox was destroyed")
        if self._stream is not None:
            self._stream.close()
        if self._api is not None:
            self._api.close()
        try:
            await self._end_init()
        finally:
            self._control.close()
            self._output.close()
        for delay in _REMOVE_RETRY_S:
            await asyncio.sleep(delay)
            try:
                if self._cgroup.remove():
                    self._uids.give_back(self.uid)
                    return
            except OSError as error:
                raise SandboxError(f"a cgroup cannot be removed: {error}") from error
        # The uid stays out of use: something of this sandbox may still run.
        raise SandboxError(f"a cgroup of the sandbox of uid {self.uid} still holds processes")

    async def _end_init(self) -> None:
        """Kill init, and with it the pid namespace; the kernel ends it only after every process in it."""
        if self._pidfd < 0:
            return
        ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, _settled, ended)
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            async with asyncio.timeout(DESTROY_TIMEOUT_S):
                await ended
        except TimeoutError:
            raise SandboxError(f"the processes of the sandbox of uid {self.uid} do not end") from None
        finally:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


def _settled(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
