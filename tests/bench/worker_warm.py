"""CPU that the worker spends on a warm invocation, without the sandbox: `python -m tests.bench.worker_warm [calls] [in flight]`.

The worker runs in a child on uvloop with a sandbox that answers at once; the parent is the caller, over a real socket.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from services.worker.fleet import StartSettings
from services.worker.sandbox.spec import (
    OnEnd,
    ResponseStream,
    RuntimeInvocation,
    RuntimeReady,
    RuntimeResponse,
    SandboxSpec,
    Watcher,
)
from services.worker.telemetry.log_shipper import LogShipper
from services.worker.telemetry.metrics import EnvironmentMetrics
from shared.dispatch.wire.frames import FrameDecoder, Handshake, encode_invoke
from tests.integration.worker.cluster import SECRET, TestWorker, header_for

EVENT = b'{"name":"a name as events have it","numbers":[1,2,3,4,5]}'


class InstantSandbox:
    alive = True
    extended = False

    async def start(self, spec: SandboxSpec, watcher: Watcher) -> None:
        pass

    async def initialised(self) -> RuntimeReady:
        return RuntimeReady()

    def invoke(self, invocation: RuntimeInvocation, on_end: OnEnd, stream: ResponseStream | None = None) -> None:
        # One turn of the loop, as any real sandbox needs at least.
        asyncio.get_running_loop().call_soon(on_end, RuntimeResponse(invocation.payload))

    async def restart(self) -> None:
        pass

    async def kill_runtime(self) -> None:
        pass

    async def destroy(self) -> None:
        pass

    def max_memory_bytes(self) -> int:
        return 36 * 1024 * 1024

    def held_bytes(self) -> int:
        return 0


class InstantPool:
    async def take(self, runtime: str, memory_mb: int) -> InstantSandbox:
        return InstantSandbox()


class Discarded:
    """Where the log's records go: everything before that is the worker's, and is measured."""

    async def send(self, topic: str, value: bytes, key: bytes) -> asyncio.Future[object]:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    async def stop(self) -> None:
        pass


class DiscardingShipper(LogShipper):
    async def _connect(self) -> Any:
        return Discarded()


def run_worker(pipe: Connection) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as root:
            worker = TestWorker(Path(root), InstantPool(), environments_max=1_000)
            logs = DiscardingShipper(worker.settings)
            worker.fleet._start = StartSettings(logs.open, worker.variables, (EnvironmentMetrics().count,))
            shipping = asyncio.create_task(logs.run())
            await worker.start()
            spec = worker.function("x = 1")
            pipe.send((worker.server.port, spec))
            loop = asyncio.get_running_loop()
            while await loop.run_in_executor(None, pipe.recv) == "usage":
                usage = resource.getrusage(resource.RUSAGE_SELF)
                pipe.send(usage.ru_utime + usage.ru_stime)
            shipping.cancel()
            await worker.stop()

    if os.environ.get("BENCH_PROFILE"):
        import cProfile
        import pstats

        profile = cProfile.Profile()
        profile.enable()
        uvloop.run(main())
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    else:
        uvloop.run(main())


async def load(port: int, spec: object, calls: int, in_flight: int, usage: Callable[[], float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    handshake, decoder = Handshake(SECRET.encode(), caller=True, role="frontend", instance="bench"), FrameDecoder()
    writer.write(handshake.start())
    while not handshake.done:
        for frame in decoder.feed(await reader.read(65_536)):
            writer.write(handshake.receive(frame))
    cold = [header_for(spec, f"e-{n}", EVENT, cold=True) for n in range(in_flight)]  # type: ignore[arg-type]
    warm = [header_for(spec, f"e-{n}", EVENT, cold=False, log_tail=False) for n in range(in_flight)]  # type: ignore[arg-type]
    environments = {n + 1: n for n in range(in_flight)}
    stream = in_flight
    for n, header in enumerate(cold):
        writer.write(encode_invoke(n + 1, header, EVENT))
    done, began, before = -in_flight, 0.0, 0.0
    while done < calls:
        out = []
        for _, answered, _ in decoder.feed(await reader.read(262_144)):
            done += 1
            if done == 0:
                began, before = time.perf_counter(), usage()
            stream += 1
            environment = environments[stream] = environments.pop(answered)
            out.append(encode_invoke(stream, warm[environment], EVENT))
        writer.writelines(out)
    spent, took = usage() - before, time.perf_counter() - began
    print(f"{in_flight:4d} in flight: {calls / took:8.0f}/s, worker CPU {spent / calls * 1e6:6.1f} us a warm invocation")
    writer.close()


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run_worker, args=(theirs,))
    process.start()
    port, spec = mine.recv()

    def usage() -> float:
        mine.send("usage")
        return float(mine.recv())

    for in_flight in [int(sys.argv[2])] if len(sys.argv) > 2 else [1, 16]:
        uvloop.run(load(port, spec, calls, in_flight, usage))
    mine.send("stop")
    process.join()


if __name__ == "__main__":
    main()
