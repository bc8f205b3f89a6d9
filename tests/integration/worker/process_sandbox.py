"""A sandbox without walls for the tests of what stands above it: a real python process in a directory, no isolation."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.sandbox.spec import (
    Failure,
    OnEnd,
    ResponseStream,
    RuntimeExit,
    RuntimeInvocation,
    RuntimeReady,
    RuntimeResponse,
    SandboxError,
    SandboxSpec,
    ShutdownReason,
    Watcher,
)
from shared.domain.limits import RESPONSE_BYTES_MAX

RUNNER = Path(__file__).with_name("process_runner.py")


class ProcessSandbox:
    def __init__(self) -> None:
        self.tmp = Path(tempfile.mkdtemp(prefix="lambdad-test-"))
        self.destroyed = False
        self.frozen = False
        self.starts = 0
        self.hang_on_kill = False
        self.fail_start = False
        self.fail_restart = False
        self.fail_invoke: Exception | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._spec: SandboxSpec | None = None
        self._pump: asyncio.Task[None] | None = None
        self._answers: asyncio.StreamReader | None = None
        self._requests = -1

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def extended(self) -> bool:
        return False

    def settled(self, on_settled: Callable[[Failure | None], None]) -> None:
        raise AssertionError("there are no extensions")

    async def shut_down(self, reason: ShutdownReason) -> None: ...

    async def start(self, spec: SandboxSpec, watcher: Watcher) -> None:
        if self.fail_start:
            raise SandboxError("no namespaces here")
        self._spec, self._watcher = spec, watcher
        await self._spawn()

    async def restart(self) -> None:
        if self.fail_restart:
            raise SandboxError("the cgroup is gone")
        await self._reap()
        await self._spawn()

    async def _spawn(self) -> None:
        assert self._spec is not None
        self.starts += 1
        request_end, self._requests = os.pipe()
        answers, answer_end = os.pipe()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(RUNNER),
            str(request_end),
            str(answer_end),
            self._spec.handler,
            str(self._spec.code_dir),
            env=self._spec.environment | {"TEST_TMP": str(self.tmp)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(request_end, answer_end),
            start_new_session=True,
        )
        os.close(request_end)
        os.close(answer_end)
        self._answers = asyncio.StreamReader(limit=64 * 1024 * 1024)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._answers), os.fdopen(answers, "rb", 0)
        )
        self._pump = asyncio.create_task(self._pump_output(self._process))

    async def _pump_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while data := await process.stdout.read(65_536):
            self._watcher.on_output(data, False)

    async def initialised(self) -> RuntimeReady | RuntimeExit:
        message = await self._answer()
        if message is None:
            return await self._ended(None)
        if message["kind"] == "init_error":
            return await self._ended(json.dumps(message["document"]).encode())
        return RuntimeReady()

    def invoke(self, invocation: RuntimeInvocation, on_end: OnEnd, stream: ResponseStream | None = None) -> None:
        if self.fail_invoke is not None:
            raise self.fail_invoke
        self._serving = asyncio.create_task(self._serve(invocation))
        self._serving.add_done_callback(lambda done: None if done.cancelled() else on_end(done.result()))

    async def _serve(self, invocation: RuntimeInvocation) -> RuntimeResponse | RuntimeExit:
        request = {"id": invocation.request_id, "deadline_ms": invocation.deadline_ms, "event": json.loads(invocation.payload)}
        with contextlib.suppress(BrokenPipeError):
            await asyncio.to_thread(os.write, self._requests, json.dumps(request).encode() + b"\n")
        message = await self._answer()
        if message is None:
            return await self._ended(None)
        payload = json.dumps(message["document"]).encode()
        if len(payload) > RESPONSE_BYTES_MAX:
            return RuntimeResponse(b"", None, len(payload))
        return RuntimeResponse(payload, message.get("error_type"))

    async def _answer(self) -> dict[str, object] | None:
        assert self._answers is not None
        line = await self._answers.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    async def _ended(self, document: bytes | None) -> RuntimeExit:
        assert self._process is not None
        status = await self._process.wait()
        if self._pump is not None:
            await self._pump
        if self.hang_on_kill:
            await asyncio.Event().wait()
        if status < 0:
            return RuntimeExit(None, signal.strsignal(-status).lower(), False, document)
        return RuntimeExit(status, None, status == 99, document)

    def rest(self) -> None:
        pass

    def freeze(self) -> None:
        self.frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.frozen = False
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def kill_runtime(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def _reap(self) -> None:
        await self.kill_runtime()
        if self._pump is not None:
            await self._pump
        if self._requests >= 0:
            os.close(self._requests)
            self._requests = -1

    async def destroy(self) -> None:
        self.destroyed = True
        await self._reap()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def max_memory_bytes(self) -> int:
        return 36 * 1024 * 1024

    def held_bytes(self) -> int:
        return 3 * 1024 * 1024


class ProcessPool:
    """What `services.worker.pool.SandboxPool` is for the fleet. `made` lists the sandboxes it gave away."""

    def __init__(self) -> None:
        self.made: list[ProcessSandbox] = []
        self.prepare: Callable[[ProcessSandbox], None] = lambda sandbox: None

    async def take(self, runtime: str, memory_mb: int) -> ProcessSandbox:
        if not runtime.startswith("python3"):
            raise UnsupportedRuntimeError(f"{runtime} is not installed")
        sandbox = ProcessSandbox()
        self.prepare(sandbox)
        self.made.append(sandbox)
        return sandbox
