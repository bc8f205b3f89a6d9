"""Whatever bytes or frames come in whatever order: the worker lives, the connection ends, others are served."""

from __future__ import annotations

import asyncio
import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.dispatch.wire.frames import encode_frame, encode_invoke
from shared.dispatch.wire.messages import PREFIX, FrameType
from shared.domain.functions import VersionSpec
from tests.integration.worker.cluster import Caller, TestWorker, header_for, until
from tests.integration.worker.process_sandbox import ProcessPool
from tests.support import PATIENCE_S

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

raw_frames = st.builds(
    lambda kind, stream, body: PREFIX.pack(len(body) + 5, kind, stream) + body,
    st.integers(0, 15),
    st.integers(0, 5) | st.integers(0, 2**32 - 1),
    st.binary(max_size=200),
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "epoch": st.integers(-(2**40), 2**40),
        "fence": st.integers(-(2**40), 2**40),
        "payload_bytes": st.integers(0, 8 * 1024 * 1024),
        "deadline_ms": st.integers(-(2**60), 2**60),
        "evict": st.lists(st.text(max_size=5), max_size=3).map(tuple),
        "request_id": st.text(max_size=50),
    },
)


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[str, object]]:
    return draw(
        st.lists(
            st.one_of(
                st.tuples(st.just("raw"), raw_frames),
                st.tuples(st.just("bytes"), st.binary(max_size=60)),
                st.tuples(st.just("invoke"), st.tuples(st.integers(0, 6), headers, st.binary(max_size=50))),
                st.tuples(st.just("cancel"), st.integers(0, 6)),
                st.tuples(st.just("data"), st.tuples(st.integers(0, 6), st.binary(max_size=1_000))),
            ),
            min_size=1,
            max_size=8,
        )
    )


def encoded(step: tuple[str, object], spec: VersionSpec) -> bytes:
    kind, what = step
    if kind in ("raw", "bytes"):
        assert isinstance(what, bytes)
        return what
    if kind == "cancel":
        assert isinstance(what, int)
        return encode_frame(FrameType.CANCEL, what)
    assert isinstance(what, tuple)
    if kind == "data":
        return encode_frame(FrameType.DATA, what[0], what[1])
    stream, changes, payload = what
    return encode_invoke(stream, header_for(spec, "e-fuzz", payload, cold=False, **changes), payload)


async def test_bytes_from_strangers_end_their_connection_and_nothing_else(worker: TestWorker) -> None:
    async def talk(data: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", worker.server.port)
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            writer.write_eof()
            async with asyncio.timeout(PATIENCE_S):
                await reader.read()
        writer.close()

    await _run_examples(st.one_of(st.binary(max_size=300), st.lists(raw_frames, max_size=4).map(b"".join)), talk)
    await _still_serves(worker)
    assert worker.server.unauthenticated == 0


async def test_frames_from_authenticated_callers_in_any_order_are_survived(worker: TestWorker, pool: ProcessPool) -> None:
    spec = worker.function("def handler(event, context):\n    return event\n", timeout_s=1)
    worker.epoch = -(2**42)
    home = await Caller.connect(worker.server.port)
    await home.answer(spec, "e-fuzz", cold=True, epoch=-(2**41))

    async def talk(steps: list[tuple[str, object]]) -> None:
        rogue = await Caller.connect(worker.server.port, instance="rogue")
        rogue._reading.cancel()
        for step in steps:
            rogue.writer.write(encoded(step, spec))
        with contextlib.suppress(ConnectionError):
            rogue.writer.write_eof()
        rogue.writer.close()
        await until(lambda: worker.server.running == 0, "the rogue's invocations end", 8)

    await _run_examples(conversations(), talk)
    await home.close()
    await _still_serves(worker)


async def _run_examples(strategy, talk) -> None:  # type: ignore[no-untyped-def]
    """Hypothesis is synchronous, the server lives on this loop: examples are drawn in a thread and run here."""
    loop = asyncio.get_running_loop()

    @FUZZ
    @given(strategy)
    def example(drawn: object) -> None:
        asyncio.run_coroutine_threadsafe(talk(drawn), loop).result(timeout=30)

    await asyncio.to_thread(example)


async def _still_serves(worker: TestWorker) -> None:
    await until(lambda: not worker.server.connections)
    caller = await Caller.connect(worker.server.port)
    spec = worker.function("def handler(event, context):\n    return event\n")
    assert (await caller.answer(spec, "e-after", "well", cold=True)).json() == "well"
    await caller.close()
