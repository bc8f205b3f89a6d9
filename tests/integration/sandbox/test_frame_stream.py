"""The stream to a runtime process that says what it should not, over a real socket."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.worker.sandbox import protocol
from services.worker.sandbox.frame_stream import STRAYS_MAX, TABLE, FrameStream, State
from services.worker.sandbox.spec import RuntimeInvocation, RuntimeResponse
from services.worker.sandbox.work_budget import WorkBudget, all_sandboxes
from tests.integration.sandbox.harness import until

KINDS = {
    name: getattr(protocol, name) for name in ("PREPARED", "READY", "RESULT", "ERROR", "TOO_LARGE", "INIT_ERROR", "BROKEN")
}
TO = {
    State.STARTED: [],
    State.PREPARED: [protocol.frame(protocol.PREPARED)],
    State.READY: [protocol.frame(protocol.PREPARED), protocol.frame(protocol.READY)],
    State.FAILED: [protocol.frame(protocol.PREPARED), protocol.frame(protocol.INIT_ERROR, b"{}")],
}


class Events:
    """What the stream told its sandbox, in order."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def on_prepared(self) -> None:
        self.said.append("prepared")

    def on_next(self) -> None: ...

    def on_ready(self) -> None:
        self.said.append("ready")

    def on_response(self, response: RuntimeResponse) -> None:
        self.said.append(response)

    def on_stray(self) -> None:
        self.said.append("stray")

    def on_init_error(self, document: bytes) -> None:
        self.said.append("init error")

    def on_stream(self, content_type: str, flow: object) -> None:
        return None

    def on_broken(self, reason: str) -> None:
        self.said.append("broken")

    def on_violation(self, reason: str) -> None:
        self.said.append("violation")


class Runtime:
    def __init__(self, far: socket.socket, stream: FrameStream, events: Events) -> None:
        self.far, self.stream, self.events = far, stream, events

    async def says(self, *frames: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.far, b"".join(frames))

    async def hears(self) -> int:
        """The number of the event that comes."""
        data = await asyncio.get_running_loop().sock_recv(self.far, 65_536)
        assert data[4] == protocol.INVOKE
        return int(protocol.NUMBER.unpack_from(data, protocol.HEADER.size)[0])

    async def until_it_said(self, *expected: object) -> None:
        await until(lambda: self.events.said[-len(expected) :] == list(expected), f"{expected}, but {self.events.said}")


@asynccontextmanager
async def running(state: State = State.READY, budget: WorkBudget | None = None) -> AsyncIterator[Runtime]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    far.setblocking(False)
    events = Events()
    stream = FrameStream(near, events, budget or WorkBudget(all_sandboxes()))
    runtime = Runtime(far, stream, events)
    try:
        await runtime.says(*TO[state])
        await until(lambda: len(events.said) == len(TO[state]), "the state")
        yield runtime
    finally:
        stream.close()
        far.close()


def event() -> RuntimeInvocation:
    return RuntimeInvocation("id", b"{}", 1, "arn")


def answer(number: int, body: bytes = b"1", kind: int = protocol.RESULT) -> bytes:
    return protocol.frame(kind, body, protocol.NUMBER.pack(number))


@pytest.mark.parametrize(("state", "kind"), list(itertools.product(State, KINDS)))
async def test_a_frame_is_in_the_table_or_a_violation(state: State, kind: str) -> None:
    async with running(state) as runtime:
        await runtime.says(protocol.frame(KINDS[kind], protocol.NUMBER.pack(7)))
        await until(lambda: len(runtime.events.said) > len(TO[state]), "an event")
        assert (runtime.events.said[-1] == "violation") is ((state, KINDS[kind]) not in TABLE)


@pytest.mark.parametrize("kind", ["READY", "RESULT", "INIT_ERROR", "BROKEN", "PREPARED"])
async def test_a_process_that_is_served_by_the_runtime_api_says_nothing_here(kind: str) -> None:
    async with running(State.PREPARED) as runtime:
        runtime.stream.only_starts()
        await runtime.says(protocol.frame(KINDS[kind]))
        await runtime.until_it_said("violation")


async def test_an_answer_is_that_of_its_event() -> None:
    async with running() as runtime:
        runtime.stream.invoke(event())
        first = await runtime.hears()
        await runtime.says(answer(first))
        await runtime.until_it_said(RuntimeResponse(b"1"))
        await runtime.says(answer(first, b"again"))
        await runtime.until_it_said("stray")
        runtime.stream.invoke(event())
        second = await runtime.hears()
        await runtime.says(answer(first, b"late"), answer(second, b"its own"))
        await runtime.until_it_said("stray", RuntimeResponse(b"its own"))


async def test_answers_to_nothing_without_end_are_a_violation() -> None:
    async with running() as runtime:
        await runtime.says(answer(9) * (STRAYS_MAX + 100))
        await runtime.until_it_said("violation")
        assert runtime.events.said.count("stray") == STRAYS_MAX


@pytest.mark.parametrize("kind", [protocol.PREPARED, protocol.INIT_ERROR])
async def test_a_flood_is_cut_off_at_its_second_frame(kind: int) -> None:
    async with running() as runtime:
        await runtime.says(struct.pack("!IB", 0, kind) * 12_000)
        await runtime.until_it_said("violation")
        assert runtime.events.said == ["prepared", "ready", "violation"]


async def test_what_is_over_the_budget_waits_and_is_not_lost() -> None:
    budget = WorkBudget(all_sandboxes())
    async with running(budget=budget) as runtime:
        runtime.stream.invoke(event())
        number = await runtime.hears()
        while budget.spend(100):
            pass
        await runtime.says(answer(number, b"a" * 100_000))
        await runtime.until_it_said(RuntimeResponse(b"a" * 100_000))


@pytest.mark.parametrize("read", [True, False])
async def test_whether_an_event_was_taken_is_known_at_the_end(read: bool) -> None:
    async with running() as runtime:
        runtime.stream.invoke(event())
        if read:
            await runtime.hears()
        runtime.far.close()
        runtime.stream.drain()
        assert runtime.stream.untaken is not read


async def test_an_event_for_a_process_that_is_gone_is_not_taken() -> None:
    async with running() as runtime:
        runtime.far.close()
        runtime.stream.invoke(event())
        assert runtime.stream.untaken
