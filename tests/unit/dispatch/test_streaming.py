"""Responses that are read while they are written: bounded by what their reader has dealt with."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dispatch.wire.frames import (
    FrameDecoder,
    IncomingStream,
    OutgoingStream,
    decode_stream,
    encode_stream,
)
from shared.dispatch.wire.messages import INLINE_PAYLOAD_BYTES_MAX, WINDOW_BYTES, FrameType, StreamHeader, WireError
from shared.dispatch.wire.streaming import ResponseStream
from tests.support import PATIENCE_S


@given(st.lists(st.integers(1, 3 * INLINE_PAYLOAD_BYTES_MAX), max_size=12))
def test_what_is_fed_arrives_in_order_and_never_more_than_the_window_at_once(sizes: list[int]) -> None:
    outgoing, incoming = OutgoingStream(7), IncomingStream()
    pieces = [bytes([65 + i]) * size for i, size in enumerate(sizes)]
    arrived = b""
    on_the_way = 0
    for piece in pieces:
        outgoing.feed(piece)
        while frames := outgoing.frames():
            for kind, stream, body in FrameDecoder().feed(b"".join(frames)):
                assert (kind, stream) == (FrameType.DATA, 7)
                incoming.data(body)
                arrived += body
                on_the_way += len(body)
                assert on_the_way <= WINDOW_BYTES
            # The reader deals with everything; only then there is credit for more.
            granted = incoming.used(on_the_way)
            on_the_way = 0
            if granted:
                outgoing.credit(granted)
    assert arrived == b"".join(pieces)
    assert outgoing.done


def test_a_reader_that_deals_with_nothing_stops_the_stream() -> None:
    outgoing = OutgoingStream(1)
    outgoing.feed(bytes(3 * WINDOW_BYTES))
    assert sum(len(frame) - 9 for frame in outgoing.frames()) == WINDOW_BYTES
    assert outgoing.frames() == []
    assert not outgoing.done


def test_a_worker_that_sends_beyond_its_credit_breaks_the_protocol() -> None:
    incoming = IncomingStream()
    for _ in range(WINDOW_BYTES // INLINE_PAYLOAD_BYTES_MAX):
        incoming.data(bytes(INLINE_PAYLOAD_BYTES_MAX))
    with pytest.raises(WireError):
        incoming.data(b"x")


def test_the_beginning_of_a_stream_is_a_frame() -> None:
    [(kind, stream, body)] = FrameDecoder().feed(encode_stream(3, StreamHeader("text/plain")))
    assert (kind, stream) == (FrameType.STREAM, 3)
    assert decode_stream(body) == StreamHeader("text/plain")


async def test_a_piece_counts_as_dealt_with_when_the_next_is_asked_for() -> None:
    response, used = ResponseStream(), list[int]()
    response.begin("text/plain", used.append)
    response.feed(b"one")
    response.feed(b"three")
    response.end()
    assert await response.begun()
    read = []
    async for piece in response.pieces():
        assert sum(used) == sum(map(len, read))
        read.append(piece)
    assert read == [b"one", b"three"]
    assert used == [3, 5]


async def test_an_invocation_that_ends_without_streaming_never_began_to() -> None:
    response = ResponseStream()
    asking = asyncio.create_task(response.begun())
    await asyncio.sleep(0)
    response.end()
    async with asyncio.timeout(PATIENCE_S):
        assert not await asking
        assert [piece async for piece in response.pieces()] == []
