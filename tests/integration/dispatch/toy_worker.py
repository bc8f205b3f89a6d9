"""A worker without sandboxes: it speaks the real protocol on a real socket, and holds environments that only pretend to run.

What a "function" does is said by its event: {"do": "echo"} answers at once, "wait" answers when `let_go` is set, "hang"
never answers, not even a CANCEL, "big" answers with as many bytes as asked, "die" closes the connection, "crash" ends its
environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from shared.dispatch.cell.membership import EnvironmentReport, WorkerMembership
from shared.dispatch.cell.worker_record import Capabilities
from shared.dispatch.wire.frames import (
    HANDSHAKE_FRAME_BYTES_MAX,
    Frame,
    FrameDecoder,
    Handshake,
    HandshakeError,
    Incoming,
    Outgoing,
    decode_credit,
    decode_invoke,
    decode_stop,
    encode_credit,
    encode_frame,
    encode_refused,
    encode_result,
)
from shared.dispatch.wire.messages import (
    FRAME_BYTES_MAX,
    INLINE_PAYLOAD_BYTES_MAX,
    FrameType,
    InvokeHeader,
    Refusal,
    RefusalReason,
    ResultHeader,
    WireError,
)
from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX
from shared.settings import Settings
from tests.support import PATIENCE_S


@dataclass
class ToyEnvironment:
    version_key: str
    function: str
    memory_mb: int
    busy: bool = False
    fence: tuple[int, int] = (0, 0)
    holder: str = ""
    provisioned: str = ""


@dataclass
class Violations:
    """What must never happen, noted where it would."""

    found: list[str] = field(default_factory=list)


@dataclass
class Tally:
    """What runs at this moment in a whole cell, by function, and the most that ever ran at once."""

    running: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    def add(self, function: str, change: int) -> None:
        self.running[function] = self.running.get(function, 0) + change
        self.most[function] = max(self.most.get(function, 0), self.running[function])


class ToyWorker:
    """started(), then requests come in. run_s: how long an "echo" takes."""

    def __init__(
        self,
        settings: Settings,
        worker_id: str,
        slots: int,
        *,
        run_s: float = 0.0,
        protocol_secret: str = "",
        tally: Tally | None = None,
        capabilities: Capabilities | None = None,
        memory_mb: int | None = None,
    ) -> None:
        self.settings = settings
        self.worker_id = worker_id
        self.slots = slots
        self.run_s = run_s
        self.secret = (protocol_secret or settings.cluster_secret.get_secret_value()).encode()
        self.environments: dict[str, ToyEnvironment] = {}
        self.violations = Violations()
        self.ran: list[tuple[str, str, str]] = []  # request, environment, version
        self.refused: list[RefusalReason] = []
        self.stopped: list[str] = []
        self.cancelled: list[str] = []
        self.running = 0
        self.tally = tally or Tally()
        self.capabilities = capabilities
        self.memory_mb = memory_mb
        self.let_go = asyncio.Event()
        self.refuse_next: list[Refusal] = []
        self.prepared: list[str] = []
        self.stop_when_done: set[str] = set()
        self.prepare_fails = False
        self.may_prepare = asyncio.Event()
        self.may_prepare.set()
        self.deaf = False
        self.connections: set[ToyConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.stop = asyncio.Event()

    async def start(self, *, wait_registered: bool = True) -> ToyWorker:
        self.server = await asyncio.get_running_loop().create_server(lambda: ToyConnection(self), "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        address = f"127.0.0.1:{self.port}"
        self.membership = WorkerMembership(
            self.settings, self.worker_id, address, self.slots, self.memory_mb, self.inventory, self.capabilities
        )
        self.member = asyncio.create_task(self.membership.run(self.stop))
        if wait_registered:
            await until(lambda: self.membership.problem is None)
        return self

    def inventory(self) -> list[EnvironmentReport]:
        return [
            EnvironmentReport(name, e.version_key, e.function, e.memory_mb, e.busy, e.fence, e.holder, e.provisioned)
            for name, e in self.environments.items()
        ]

    async def leave(self) -> None:
        self.stop.set()
        await self.member
        await self.membership.leave()
        await self.kill()

    async def kill(self) -> None:
        """End like a process that was killed: no goodbye to anyone."""
        self.member.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.member
        await self.membership._redis.close()
        self.server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def admit(self, header: InvokeHeader, holder: str) -> Refusal | None:
        fence = (header.epoch, header.fence)
        if self.refuse_next:
            return self.refuse_next.pop(0)
        if header.epoch < self.membership.epoch:
            return Refusal(RefusalReason.STALE_FENCE, header.environment_id not in self.environments)
        if header.spec is not None:
            for victim in header.evict:
                environment = self.environments.get(victim)
                if environment is not None and not environment.busy:
                    del self.environments[victim]
            if len(self.environments) >= self.slots:
                return Refusal(RefusalReason.NO_ROOM, True)
            if header.environment_id in self.environments:
                self.violations.found.append(f"{header.environment_id} started twice")
            self.environments[header.environment_id] = ToyEnvironment(
                header.version_key,
                header.spec.counted_as,
                header.spec.memory_mb,
                provisioned="s" if header.prepare else "",
            )
        environment = self.environments.get(header.environment_id)
        if environment is None:
            return Refusal(RefusalReason.UNKNOWN_ENVIRONMENT, True)
        if environment.version_key != header.version_key:
            self.violations.found.append(f"{header.environment_id} was asked to run another version")
        if fence < environment.fence:
            return Refusal(RefusalReason.STALE_FENCE, False)
        if environment.busy:
            return Refusal(RefusalReason.BUSY, False)
        environment.busy, environment.fence, environment.holder = True, fence, holder
        return None

    async def prepare(self, header: InvokeHeader) -> ResultHeader:
        try:
            await self.may_prepare.wait()
        except asyncio.CancelledError:
            self.environments.pop(header.environment_id, None)
            await self.membership.environment_gone(header.environment_id)
            raise
        if self.prepare_fails:
            del self.environments[header.environment_id]
            return ResultHeader(False, 0, "error")
        environment = self.environments[header.environment_id]
        environment.busy, environment.provisioned = False, "r"
        self.prepared.append(header.environment_id)
        return ResultHeader(True, 0, init_ms=1.0)

    async def run(self, header: InvokeHeader, payload: bytes) -> bytes | None:
        """The response; None when the environment ended with it."""
        environment = self.environments[header.environment_id]
        function = environment.function
        self.ran.append((header.request_id, header.environment_id, header.version_key))
        self.running += 1
        self.tally.add(function, 1)
        try:
            event = json.loads(payload)
            what = event.get("do", "echo")
            if what == "wait":
                await self.let_go.wait()
            elif what == "sleep":
                await asyncio.sleep(event["s"])
            elif what == "hang":
                await asyncio.Event().wait()
            elif what == "big":
                return b"x" * int(event["bytes"])
            elif what == "crash":
                return None
            elif self.run_s:
                await asyncio.sleep(self.run_s)
            return payload
        finally:
            self.running -= 1
            self.tally.add(function, -1)


class ToyConnection(asyncio.Protocol):
    def __init__(self, worker: ToyWorker) -> None:
        self.worker = worker
        self.handshake = Handshake(worker.secret, caller=False, role="worker", instance=worker.worker_id)
        self.decoder = FrameDecoder(HANDSHAKE_FRAME_BYTES_MAX)
        self.outgoing: dict[int, Outgoing] = {}
        self.incoming: dict[int, tuple[InvokeHeader, Incoming]] = {}
        self.running: dict[int, asyncio.Task[None]] = {}
        self.credited: dict[int, asyncio.Event] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.worker.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.worker.connections.discard(self)
        for task in self.running.values():
            task.cancel()

    def data_received(self, data: bytes) -> None:
        if self.worker.deaf:
            return
        try:
            for frame in self.decoder.feed(data):
                if not self.handshake.done:
                    self.transport.write(self.handshake.receive(frame))
                    if self.handshake.done:
                        self.decoder.frame_bytes_max = FRAME_BYTES_MAX
                else:
                    self.receive(frame)
        except WireError as error:
            if isinstance(error, HandshakeError):
                self.transport.write(error.farewell)
            self.transport.close()

    def receive(self, frame: Frame) -> None:
        kind, stream, body = frame
        if kind == FrameType.INVOKE:
            header, first = decode_invoke(body)
            incoming = Incoming(SYNC_PAYLOAD_BYTES_MAX, first)
            self.incoming[stream] = (header, incoming)
            self.maybe_run(stream)
        elif kind == FrameType.DATA and stream in self.incoming:
            granted = self.incoming[stream][1].data(body)
            if granted:
                self.transport.write(encode_credit(stream, granted))
            self.maybe_run(stream)
        elif kind == FrameType.CREDIT and stream in self.outgoing:
            self.outgoing[stream].credit(decode_credit(body))
            self.credited[stream].set()
        elif kind == FrameType.CANCEL:
            task = self.running.get(stream)
            if task is not None:
                # Not before its first step: it would never run then, and never answer.
                asyncio.get_running_loop().call_soon(task.cancel)
            elif self.incoming.pop(stream, None) is not None:
                self.refuse(stream, Refusal(RefusalReason.CANCELLED, False))
        elif kind == FrameType.STOP:
            for environment_id in decode_stop(body).environment_ids:
                self.worker.stopped.append(environment_id)
                known = self.worker.environments.get(environment_id)
                if known is not None and known.busy and known.provisioned:
                    self.worker.stop_when_done.add(environment_id)
                else:
                    self.worker.environments.pop(environment_id, None)
        elif kind == FrameType.PING:
            self.transport.write(encode_frame(FrameType.PONG, 0))

    def refuse(self, stream: int, refusal: Refusal) -> None:
        self.worker.refused.append(refusal.reason)
        self.transport.write(encode_refused(stream, refusal))

    def maybe_run(self, stream: int) -> None:
        header, incoming = self.incoming[stream]
        if incoming.size_bytes < header.payload_bytes:
            return
        del self.incoming[stream]
        assert self.handshake.peer is not None
        refusal = self.worker.admit(header, self.handshake.peer.instance)
        if refusal is not None:
            self.refuse(stream, refusal)
            return
        task = asyncio.create_task(self.run(stream, header, incoming.finish(b"", header.payload_bytes)))
        self.running[stream] = task
        self.worker.tasks.add(task)
        task.add_done_callback(lambda done: (self.worker.tasks.discard(done), self.running.pop(stream, None)))

    async def run(self, stream: int, header: InvokeHeader, payload: bytes) -> None:
        worker = self.worker
        if header.prepare:
            self.transport.write(encode_result(stream, await worker.prepare(header), b""))
            return
        event = json.loads(payload)
        try:
            if event.get("do") == "die":
                self.transport.abort()
            response = await worker.run(header, payload)
        except asyncio.CancelledError:
            worker.cancelled.append(header.request_id)
            if event.get("do") == "hang" and not event.get("cancellable"):
                return
            worker.environments.pop(header.environment_id, None)
            if not self.transport.is_closing():
                body = b'{"errorType":"cancelled"}'
                self.transport.write(encode_result(stream, ResultHeader(False, len(body), "Unhandled"), body))
            else:
                await worker.membership.environment_gone(header.environment_id)
            return
        reusable = response is not None and header.environment_id not in worker.stop_when_done
        if reusable:
            worker.environments[header.environment_id].busy = False
        else:
            worker.environments.pop(header.environment_id, None)
        body = response or b'{"errorType":"Runtime.ExitError"}'
        end = max(0, len(body) - INLINE_PAYLOAD_BYTES_MAX)
        if end:
            await self.send_data(stream, Outgoing(stream, body, 0, end))
        result = ResultHeader(reusable, len(body), None if reusable else "Unhandled", init_ms=1.0 if header.spec else None)
        self.transport.write(encode_result(stream, result, body[end:]))

    async def send_data(self, stream: int, outgoing: Outgoing) -> None:
        self.outgoing[stream], self.credited[stream] = outgoing, asyncio.Event()
        while True:
            for frame in outgoing.frames():
                self.transport.write(frame)
            if outgoing.done:
                break
            self.credited[stream].clear()
            await self.credited[stream].wait()
        del self.outgoing[stream], self.credited[stream]


Waiter = Callable[[], Awaitable[bool] | bool]


async def until(condition: Waiter, timeout_s: float = PATIENCE_S) -> None:
    """Wait for a condition; fails when it does not come true in time."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)
