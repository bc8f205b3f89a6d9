"""A worker's parts put together as its main does, on a pool that the test chooses, and a caller that speaks the wire."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr

from services.worker.callers.server import WorkerServer
from services.worker.code.cache import CodeCache
from services.worker.fleet import Fleet, Pool, StartSettings
from services.worker.telemetry.environment_log import LogSink
from services.worker.telemetry.events import TelemetryEvent
from shared.dispatch.wire.frames import (
    FrameDecoder,
    Handshake,
    Incoming,
    Outgoing,
    decode_broken,
    decode_credit,
    decode_refused,
    decode_result,
    decode_settled,
    encode_credit,
    encode_frame,
    encode_invoke,
)
from shared.dispatch.wire.messages import (
    INLINE_PAYLOAD_BYTES_MAX,
    Broken,
    FrameType,
    InvokeHeader,
    Refusal,
    ResultHeader,
    Settled,
)
from shared.domain.errors import LambdadError
from shared.domain.functions import Layer, VersionSpec
from shared.domain.limits import RESPONSE_BYTES_MAX
from shared.settings import Settings, WorkerSettings
from tests.support import PATIENCE_S, zip_of
from tests.unit.worker.specs import version

TIMEOUT_S = 60
"""Of functions whose timeout is not what is tested."""
SECRET = "test-secret"


class MemoryPackages:
    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    async def get(self, sha256: str) -> bytes:
        if sha256 not in self.stored:
            raise LambdadError(f"package {sha256} is missing")
        return self.stored[sha256]

    async def parts(self, sha256: str, size_bytes: int) -> AsyncIterator[bytes]:
        package = await self.get(sha256)
        for begin in range(0, len(package), 1024 * 1024):
            yield package[begin : begin + 1024 * 1024]


class MemoryLog:
    def __init__(self, name: str) -> None:
        self.name = name
        self.data = b""
        self.records: list[str] = []

    def append(self, data: bytes, *, whole: bool = False) -> None:
        self.data += data
        if whole:
            self.records.append(data.decode())

    def dropped(self, size_bytes: int, lines: int) -> None:
        pass

    @property
    def text(self) -> str:
        return self.data.decode()


class TestWorker:
    """`logs` by environment, `gone` what the fleet reported as ended by itself, `events` what happened in environments."""

    __test__ = False

    def __init__(self, root: Path, pool: Pool, **worker: Any) -> None:
        self.settings = Settings(
            data_dir=root,
            instance="worker-test",
            cluster_secret=SecretStr(SECRET),
            worker=WorkerSettings(port=0, **worker),
        )
        self.packages = MemoryPackages()
        self.logs: dict[str, MemoryLog] = {}
        self.gone: list[str] = []
        self.events: list[TelemetryEvent] = []
        self.epoch = 0
        self.cache = CodeCache(self.packages, root / "code", 1024**3)
        self.pool = pool
        self.fleet = Fleet(
            pool=pool,
            code=self.cache,
            start=StartSettings(self._open_log, self.variables, (self.events.append,)),
            environments_max=self.settings.worker.environments_max,
            on_gone=self._on_gone,
            epoch=lambda: self.epoch,
            architecture="x86_64",
        )
        self.server = WorkerServer(self.settings, self.fleet)

    def variables(self, spec: VersionSpec, sink: LogSink) -> dict[str, str]:
        return {"AWS_LAMBDA_LOG_STREAM_NAME": sink.name, "PATH": os.environ["PATH"]} | spec.environment

    async def start(self) -> None:
        await self.cache.start()
        await self.server.start()

    async def stop(self) -> None:
        await self.server.drain(0.0)
        await self.fleet.close(5.0)
        self.server.close()
        await self.cache.close()

    def function(self, source: str, **changes: Any) -> VersionSpec:
        """A version whose module app.py is `source`."""
        return self.program(source, "app.py", **changes)

    def program(self, source: str, file: str = "bootstrap", **changes: Any) -> VersionSpec:
        """A version whose package is this file; of a custom runtime, if nothing else is said."""
        if file == "bootstrap":
            changes = {"runtime": "provided.al2023"} | changes
        package = zip_of({file: source})
        sha256 = hashlib.sha256(package).hexdigest()
        self.packages.stored[sha256] = package
        changes = {"version_key": sha256[:12], "timeout_s": TIMEOUT_S} | changes
        return version(code_sha256=sha256, **changes)

    def with_layer(self, spec: VersionSpec, files: Mapping[str, str | bytes]) -> VersionSpec:
        """The same version with a layer of these files."""
        package = zip_of(files)
        sha256 = hashlib.sha256(package).hexdigest()
        self.packages.stored[sha256] = package
        layer = Layer("arn:aws:lambda:us-east-1:000000000000:layer:layer:1", sha256, len(package))
        return msgspec.structs.replace(spec, layers=(*spec.layers, layer), version_key=f"{spec.version_key}{sha256[:6]}")

    def _open_log(self, spec: VersionSpec, environment_id: str) -> LogSink:
        self.logs[environment_id] = log = MemoryLog(f"2026/01/01/[{spec.version}]{environment_id}")
        return log

    async def _on_gone(self, environment_id: str) -> None:
        self.gone.append(environment_id)


class Answer(msgspec.Struct):
    header: ResultHeader
    payload: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.payload)

    @property
    def tail(self) -> str:
        return self.header.log_tail.decode()


class _Waiting:
    def __init__(self) -> None:
        self.future: asyncio.Future[Answer | Refusal | Broken] = asyncio.get_running_loop().create_future()
        self.incoming = Incoming(RESPONSE_BYTES_MAX)
        self.outgoing: Outgoing | None = None


class Caller:
    """`give_credit`: whether DATA is acknowledged. `settled`: what was told after an answer, by stream. Every wait is under the test's own deadline."""

    def __init__(self) -> None:
        self.give_credit = True
        self.pongs = 0
        self.settled: dict[int, Settled] = {}
        self._streams: dict[int, _Waiting] = {}
        self.last_stream = 0

    @classmethod
    async def connect(cls, port: int, *, instance: str = "frontend-test", secret: str = SECRET) -> Caller:
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        handshake = Handshake(secret.encode(), caller=True, role="frontend", instance=instance)
        self.writer.write(handshake.start())
        decoder = FrameDecoder()
        while not handshake.done:
            data = await self.reader.read(65_536)
            if not data:
                raise ConnectionError("the worker hung up during the handshake")
            for frame in decoder.feed(data):
                self.writer.write(handshake.receive(frame))
        self._reading = asyncio.create_task(self._read(decoder))
        return self

    async def _read(self, decoder: FrameDecoder) -> None:
        while data := await self.reader.read(1024 * 1024):
            for kind, stream, body in decoder.feed(data):
                self._receive(kind, stream, body)
        for waiting in self._streams.values():
            if not waiting.future.done():
                waiting.future.set_exception(ConnectionError("the worker hung up"))
                waiting.future.exception()

    def _receive(self, kind: int, stream: int, body: bytes) -> None:
        if kind == FrameType.PONG:
            self.pongs += 1
            return
        waiting = self._streams[stream]
        if kind == FrameType.RESULT:
            header, last = decode_result(body)
            waiting.future.set_result(Answer(header, waiting.incoming.finish(last, header.payload_bytes)))
        elif kind == FrameType.REFUSED:
            waiting.future.set_result(decode_refused(body))
        elif kind == FrameType.BROKEN:
            waiting.future.set_result(decode_broken(body))
        elif kind == FrameType.SETTLED:
            self.settled[stream] = decode_settled(body)
        elif kind == FrameType.DATA:
            granted = waiting.incoming.data(body)
            if granted and self.give_credit:
                self.writer.write(encode_credit(stream, granted))
        elif kind == FrameType.CREDIT:
            assert waiting.outgoing is not None
            waiting.outgoing.credit(decode_credit(body))
            self._pump(waiting)

    def _pump(self, waiting: _Waiting) -> None:
        assert waiting.outgoing is not None
        self.writer.writelines(waiting.outgoing.frames())

    def send(
        self, header: InvokeHeader, payload: bytes, *, whole: bool = True
    ) -> tuple[int, asyncio.Future[Answer | Refusal | Broken]]:
        self.last_stream += 1
        stream = self.last_stream
        waiting = self._streams[stream] = _Waiting()
        self.writer.write(encode_invoke(stream, header, payload[:INLINE_PAYLOAD_BYTES_MAX]))
        if len(payload) > INLINE_PAYLOAD_BYTES_MAX and whole:
            waiting.outgoing = Outgoing(stream, payload, INLINE_PAYLOAD_BYTES_MAX)
            self._pump(waiting)
        return stream, waiting.future

    def frame(self, kind: FrameType, stream: int, body: bytes = b"") -> None:
        self.writer.write(encode_frame(kind, stream, body))

    def cancel(self, stream: int) -> None:
        self.frame(FrameType.CANCEL, stream)

    async def invoke(
        self, spec: VersionSpec, environment_id: str, event: Any = None, *, cold: bool = False, **changes: Any
    ) -> Answer | Refusal | Broken:
        """`changes` are of the header. Waits PATIENCE_S at most."""
        payload = event if isinstance(event, bytes) else msgspec.json.encode(event)
        async with asyncio.timeout(PATIENCE_S):
            return await self.send(header_for(spec, environment_id, payload, cold=cold, **changes), payload)[1]

    async def answer(self, spec: VersionSpec, environment_id: str, event: Any = None, **options: Any) -> Answer:
        answer = await self.invoke(spec, environment_id, event, **options)
        assert isinstance(answer, Answer), answer
        return answer

    async def refusal(self, spec: VersionSpec, environment_id: str, event: Any = None, **options: Any) -> Refusal:
        answer = await self.invoke(spec, environment_id, event, **options)
        assert isinstance(answer, Refusal), answer
        return answer

    async def close(self) -> None:
        self.writer.close()
        async with asyncio.timeout(PATIENCE_S):
            await self._reading


def header_for(spec: VersionSpec, environment_id: str, payload: bytes, *, cold: bool, **changes: Any) -> InvokeHeader:
    values: dict[str, Any] = {
        "epoch": 1,
        "fence": 1,
        "environment_id": environment_id,
        "version_key": spec.version_key,
        "request_id": str(uuid.uuid4()),
        "invoked_arn": spec.function_arn,
        "deadline_ms": int((time.time() + 60) * 1e3),
        "payload_bytes": len(payload),
        "log_tail": True,
        "spec": spec if cold else None,
    }
    return InvokeHeader(**(values | changes))


async def until(condition: Any, what: str = "", deadline_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.01)
