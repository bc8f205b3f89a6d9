"""Functions in real sandboxes, without the rest of the worker."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from services.worker.pool import SandboxPool
from services.worker.runtimes.variables import function_variables
from services.worker.sandbox.launched import LaunchedSandbox
from services.worker.sandbox.spec import (
    RuntimeExit,
    RuntimeInvocation,
    RuntimeReady,
    RuntimeResponse,
    SandboxError,
    SandboxSpec,
)
from services.worker.telemetry.events import Subscriber, TelemetryEvent
from shared.domain.functions import VersionSpec
from shared.settings import Settings
from tests.support import PATIENCE_S, PYTHON

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="sandboxes need root: namespaces, mounts, users")


class Running:
    """A function in its sandbox, initialised or not (`ready` says)."""

    def __init__(self, sandbox: LaunchedSandbox) -> None:
        self.sandbox = sandbox
        self.output = bytearray()
        self.records: list[str] = []
        self.events: list[TelemetryEvent] = []
        self.ready: RuntimeReady | RuntimeExit = RuntimeReady()

    def on_output(self, data: bytes, whole: bool) -> None:
        self.output += data
        if whole:
            self.records.append(data.decode())

    def on_event(self, event: TelemetryEvent) -> None:
        self.events.append(event)

    def subscribe(self, subscriber: Subscriber) -> None: ...

    async def invoke(self, event: object = None, **more: Any) -> RuntimeResponse | RuntimeExit:
        invocation = RuntimeInvocation(
            request_id=more.get("request_id", str(uuid.uuid4())),
            payload=more.get("payload", json.dumps(event).encode()),
            deadline_ms=int(time.time() * 1000) + 3_000,
            invoked_arn="arn:aws:lambda:us-east-1:000000000000:function:fn",
            trace=more.get("trace"),
            client_context=more.get("client_context"),
        )
        answer: asyncio.Future[RuntimeResponse | RuntimeExit | SandboxError] = asyncio.get_running_loop().create_future()
        self.sandbox.invoke(invocation, lambda end: None if answer.done() else answer.set_result(end))
        async with asyncio.timeout(PATIENCE_S):
            end = await answer
        if isinstance(end, SandboxError):
            raise end
        return end

    async def result(self, event: object = None, **more: Any) -> Any:
        """The handler's result; fails the test when there is none."""
        end = await self.invoke(event, **more)
        assert isinstance(end, RuntimeResponse), (end, bytes(self.output))
        assert end.error_type is None, end.payload
        return json.loads(end.payload)

    async def error(self, event: object = None) -> Any:
        end = await self.invoke(event)
        assert isinstance(end, RuntimeResponse), (end, bytes(self.output))
        assert end.error_type is not None
        return json.loads(end.payload)

    async def restart(self) -> None:
        """After the runtime's end. Fails the test when the next one does not initialise."""
        await self.sandbox.restart()
        ready = await self.initialised()
        assert isinstance(ready, RuntimeReady), (ready, bytes(self.output))

    async def initialised(self) -> RuntimeReady | RuntimeExit:
        async with asyncio.timeout(PATIENCE_S):
            self.ready = await self.sandbox.initialised()
        return self.ready


def processes_of(uid: int) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["uids"]) if process.info["uids"] and process.info["uids"].real == uid]


def processor_seconds(processes: list[psutil.Process]) -> float:
    """What they have used, all together."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


class Harness:
    def __init__(self, pool: SandboxPool, folder: Path) -> None:
        self.pool = pool
        self._folder = folder

    def write(self, files: Mapping[str, str | bytes | Path]) -> Path:
        """An unpacked package, root's, readable by all, as the code cache makes it. A path is where a link leads."""
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir(mode=0o755)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            if isinstance(text, Path):
                path.symlink_to(text)
                continue
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            path.chmod(0o755 if path.name in ("bootstrap", "program", "wrapper") else 0o644)
        return folder

    @asynccontextmanager
    async def running(
        self,
        source: str | Mapping[str, str | bytes | Path] | Path,
        *,
        runtime: str = PYTHON,
        handler: str = "app.handler",
        memory_mb: int = 1_769,
        tmp_mb: int = 512,
        variables: Mapping[str, str] | None = None,
        layers: Mapping[str, str | bytes | Path] | Path | None = None,
        log_format: str = "Text",
    ) -> AsyncIterator[Running]:
        """source: the handler's module, all files of the package, or a package that `write` made; layers likewise."""
        files = {"app.py" if runtime.startswith("python") else "app.js": source} if isinstance(source, str) else source
        version = version_spec(runtime, handler, memory_mb, variables or {}, log_format)
        spec = SandboxSpec(
            handler=handler,
            environment=function_variables(
                self.pool.catalogue.family(runtime),
                version,
                log_stream="2026/01/01/[$LATEST]abc",
                access_key_id="AKID",
                secret_access_key="SECRET",
                session_token="TOKEN",
            ),
            code_dir=files if isinstance(files, Path) else self.write(files),
            layers_dir=layers if layers is None or isinstance(layers, Path) else self.write(layers),
            memory_mb=memory_mb,
            tmp_mb=tmp_mb,
            version=version,
        )
        sandbox = await self.pool.take(runtime, memory_mb)
        assert isinstance(sandbox, LaunchedSandbox)
        running = Running(sandbox)
        try:
            await sandbox.start(spec, running)
            await running.initialised()
            yield running
        finally:
            await sandbox.destroy()


def version_spec(
    runtime: str,
    handler: str = "app.handler",
    memory_mb: int = 1_769,
    variables: Mapping[str, str] | None = None,
    log_format: str = "Text",
) -> VersionSpec:
    return VersionSpec(
        version_key="key",
        function_id="id",
        function_name="fn",
        function_arn="arn:aws:lambda:us-east-1:000000000000:function:fn",
        version="$LATEST",
        account_id="000000000000",
        region="us-east-1",
        runtime=runtime,
        handler=handler,
        code_sha256="",
        memory_mb=memory_mb,
        timeout_s=3,
        tmp_mb=512,
        environment=dict(variables or {}),
        role_arn="arn:aws:iam::000000000000:role/role",
        log_group="/aws/lambda/fn",
        log_format=log_format,
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def harness(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harness]:
    if os.geteuid() != 0:
        pytest.skip("sandboxes need root: namespaces, mounts, users")
    settings = Settings()
    settings.worker.prestart_runtimes = []
    settings.worker.pool_size = settings.worker.pool_size_max = 2
    folder = tmp_path_factory.mktemp("sandboxes")
    pool = SandboxPool(settings, folder / "root")
    if not pool.supports(PYTHON):
        pytest.skip(f"{PYTHON} and its runtime client are not installed: run `make setup`")
    await pool.start()
    try:
        yield Harness(pool, folder)
    finally:
        await pool.close()


async def until(condition: Any, what: str, deadline_s: float = PATIENCE_S) -> None:
    """Wait for a condition; fails the test at the deadline."""
    try:
        async with asyncio.timeout(deadline_s):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not within {deadline_s:.0f} s: {what}")
