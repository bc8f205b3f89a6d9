"""The frame codec, the handshake and flow control: whatever comes in, only WireError comes out."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dispatch.wire.frames import (
    HANDSHAKE_FRAME_BYTES_MAX,
    Frame,
    FrameDecoder,
    Handshake,
    HandshakeError,
    Incoming,
    Outgoing,
    decode_broken,
    decode_credit,
    decode_invoke,
    decode_refused,
    decode_result,
    decode_stop,
    encode_broken,
    encode_credit,
    encode_frame,
    encode_invoke,
    encode_refused,
    encode_result,
    encode_stop,
)
from shared.dispatch.wire.messages import (
    FRAME_BYTES_MAX,
    INLINE_PAYLOAD_BYTES_MAX,
    PREFIX,
    PROTOCOL_VERSION,
    TEXT_CHARACTERS_MAX,
    WINDOW_BYTES,
    Broken,
    FrameType,
    Hello,
    InvokeHeader,
    Refusal,
    RefusalReason,
    ResultHeader,
    StopEnvironments,
    WireError,
)

SECRET = b"a secret"


def only(data: bytes) -> Frame:
    [frame] = FrameDecoder().feed(data)
    return frame


def header(**changes: object) -> InvokeHeader:
    fields = {
        "epoch": 1,
        "fence": 2,
        "environment_id": "1-2",
        "version_key": "f:1",
        "request_id": "r",
        "invoked_arn": "arn",
        "deadline_ms": 3,
        "payload_bytes": 2,
    }
    return InvokeHeader(**{**fields, **changes})  # type: ignore[arg-type]


def test_every_headed_frame_comes_back_as_it_was() -> None:
    kind, stream, body = only(encode_invoke(7, header(trace="t"), b"{}"))
    assert (kind, stream, decode_invoke(body)) == (FrameType.INVOKE, 7, (header(trace="t"), b"{}"))
    result = ResultHeader(True, 3, "Unhandled", b"log", 1.5, 2, None, 64)
    assert decode_result(only(encode_result(7, result, b"abc"))[2]) == (result, b"abc")
    refusal = Refusal(RefusalReason.BUSY, False, "why")
    assert decode_refused(only(encode_refused(7, refusal))[2]) == refusal
    broken = Broken(True, "half of it")
    assert decode_broken(only(encode_broken(7, broken))[2]) == broken
    assert decode_stop(only(encode_stop(StopEnvironments(("a", "b"))))[2]) == StopEnvironments(("a", "b"))
    assert decode_credit(only(encode_credit(7, 99))[2]) == 99


@given(bodies=st.lists(st.binary(max_size=200), max_size=8), cuts=st.lists(st.integers(1, 64), min_size=1, max_size=40))
def test_frames_are_found_however_the_bytes_arrive(bodies: list[bytes], cuts: list[int]) -> None:
    data = b"".join(encode_frame(FrameType.DATA, number + 1, body) for number, body in enumerate(bodies))
    decoder, found, position, turn = FrameDecoder(), [], 0, 0
    while position < len(data):
        size = cuts[turn % len(cuts)]
        found += decoder.feed(data[position : position + size])
        position, turn = position + size, turn + 1
    assert found == [(FrameType.DATA, number + 1, body) for number, body in enumerate(bodies)]


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_garbage_raises_nothing_but_a_wire_error(chunks: list[bytes]) -> None:
    decoder = FrameDecoder()
    for chunk in chunks:
        try:
            decoder.feed(chunk)
        except WireError:
            return


@given(st.binary(max_size=400))
def test_garbage_in_a_body_raises_nothing_but_a_wire_error(body: bytes) -> None:
    for decode in (decode_invoke, decode_result, decode_refused, decode_broken, decode_stop, decode_credit):
        try:
            decode(body)
        except WireError:
            pass


def test_deep_nesting_in_a_header_is_a_wire_error() -> None:
    nested = b"\x91" * 100_000
    with pytest.raises(WireError):
        decode_invoke(len(nested).to_bytes(4, "big") + nested)


@pytest.mark.parametrize("length", [0, 4, FRAME_BYTES_MAX + 1, 2**32 - 1])
def test_a_frame_out_of_bounds_is_refused_by_its_prefix(length: int) -> None:
    with pytest.raises(WireError):
        FrameDecoder().feed(PREFIX.pack(length, FrameType.DATA, 1))


@pytest.mark.parametrize("kind", [0, 15, 255])
def test_an_unknown_frame_type_is_refused(kind: int) -> None:
    with pytest.raises(WireError):
        FrameDecoder().feed(PREFIX.pack(5, kind, 0))


@pytest.mark.parametrize("field", ["request_id", "invoked_arn", "trace", "client_context"])
def test_a_text_that_a_runtimes_header_has_no_room_for_is_neither_sent_nor_taken(field: str) -> None:
    fits = header(**{field: "\U0001f600" * TEXT_CHARACTERS_MAX})
    assert len(getattr(fits, field).encode()) < 65_536
    assert decode_invoke(only(encode_invoke(1, fits, b"{}"))[2])[0] == fits
    longer = header(**{field: "x" * (TEXT_CHARACTERS_MAX + 1)})
    if field in ("trace", "client_context"):  # The others are no client's to say.
        with pytest.raises(WireError):
            encode_invoke(1, longer, b"{}")
    packed = msgspec.msgpack.encode(longer)
    with pytest.raises(WireError):
        decode_invoke(len(packed).to_bytes(4, "big") + packed + b"{}")


def test_nothing_larger_than_a_frame_is_encoded() -> None:
    with pytest.raises(WireError):
        encode_frame(FrameType.DATA, 1, b"x" * FRAME_BYTES_MAX)
    with pytest.raises(WireError):
        encode_invoke(1, header(client_context="x" * FRAME_BYTES_MAX), b"")


def test_a_payload_smaller_than_what_came_is_refused() -> None:
    with pytest.raises(WireError):
        decode_invoke(only(encode_invoke(1, header(payload_bytes=1), b"{}"))[2])


def shake_hands(caller: Handshake, worker: Handshake) -> None:
    to_worker = caller.start()
    for _ in range(4):
        to_caller = b"".join(worker.receive(frame) for frame in FrameDecoder(HANDSHAKE_FRAME_BYTES_MAX).feed(to_worker))
        to_worker = b"".join(caller.receive(frame) for frame in FrameDecoder(HANDSHAKE_FRAME_BYTES_MAX).feed(to_caller))
        if not to_worker:
            return


def handshakes(caller_secret: bytes = SECRET, worker_secret: bytes = SECRET) -> tuple[Handshake, Handshake]:
    return (
        Handshake(caller_secret, caller=True, role="frontend", instance="frontend-1"),
        Handshake(worker_secret, caller=False, role="worker", instance="w1"),
    )


def test_both_ends_prove_the_secret_and_learn_who_the_other_is() -> None:
    caller, worker = handshakes()
    shake_hands(caller, worker)
    assert caller.done
    assert worker.done
    assert caller.peer is not None
    assert worker.peer is not None
    assert (caller.peer.instance, worker.peer.instance) == ("w1", "frontend-1")


def test_a_caller_with_another_secret_is_refused_and_told_nothing() -> None:
    caller, worker = handshakes(caller_secret=b"another")
    with pytest.raises(HandshakeError) as raised:
        shake_hands(caller, worker)
    assert raised.value.farewell == b""
    assert not worker.done


def test_a_worker_with_another_secret_is_refused_by_the_caller() -> None:
    caller, worker = handshakes(worker_secret=b"another")
    hello = worker.receive(only(caller.start()))
    caller.receive(only(hello))
    with pytest.raises(HandshakeError):
        caller.receive((FrameType.AUTH, 0, worker._proof(False)))
    assert not caller.done


def test_a_reflected_proof_is_refused() -> None:
    caller, worker = handshakes()
    auth = caller.receive(only(worker.receive(only(caller.start()))))
    with pytest.raises(HandshakeError):
        caller.receive(only(auth))


def test_a_replayed_proof_is_refused() -> None:
    caller, worker = handshakes()
    first_hello = caller.start()
    auth = caller.receive(only(worker.receive(only(first_hello))))
    _, again = handshakes()
    again.receive(only(first_hello))
    with pytest.raises(HandshakeError):
        again.receive(only(auth))


def test_another_protocol_version_is_refused_by_both_ends_with_a_word() -> None:
    caller, worker = handshakes()
    other = msgspec.msgpack.encode(Hello(PROTOCOL_VERSION + 1, "frontend", "x", b"n" * 32))
    with pytest.raises(HandshakeError, match=f"protocol {PROTOCOL_VERSION + 1}") as raised:
        worker.receive((FrameType.HELLO, 0, other))
    assert only(raised.value.farewell)[0] == FrameType.HELLO
    caller.start()
    with pytest.raises(HandshakeError, match=f"protocol {PROTOCOL_VERSION + 1}"):
        caller.receive((FrameType.HELLO, 0, other))


@pytest.mark.parametrize("kind", [kind for kind in FrameType if kind != FrameType.HELLO])
def test_nothing_is_accepted_before_hello(kind: FrameType) -> None:
    _, worker = handshakes()
    with pytest.raises(HandshakeError):
        worker.receive((kind, 0, b""))


def test_an_empty_secret_is_no_secret() -> None:
    with pytest.raises(ValueError, match="empty"):
        Handshake(b"", caller=True, role="frontend", instance="x")


@given(st.integers(0, 5 * WINDOW_BYTES))
def test_a_payload_of_any_size_arrives_whole_within_the_window(size: int) -> None:
    payload = b"x" * size
    first = payload[:INLINE_PAYLOAD_BYTES_MAX]
    outgoing, incoming = Outgoing(1, payload, len(first)), Incoming(5 * WINDOW_BYTES, first)
    granted = 0
    while not outgoing.done:
        frames = outgoing.frames()
        assert frames, "stuck"
        in_flight = sum(len(frame) - 9 for frame in frames)
        assert in_flight <= WINDOW_BYTES
        for frame in frames:
            credit = incoming.data(only(frame)[2])
            if credit:
                outgoing.credit(credit)
                granted += credit
    assert incoming.finish(b"", size) == payload


def test_a_peer_that_overruns_its_window_or_the_bound_is_cut() -> None:
    incoming = Incoming(10)
    with pytest.raises(WireError):
        incoming.data(b"x" * 11)
    with pytest.raises(WireError):
        Incoming(10 * WINDOW_BYTES).data(b"")
    with pytest.raises(WireError):
        Incoming(10 * WINDOW_BYTES).data(b"x" * (INLINE_PAYLOAD_BYTES_MAX + 1))
    with pytest.raises(WireError):
        Incoming(10).finish(b"abc", 4)


@pytest.mark.parametrize("granted", [0, 1, WINDOW_BYTES])
def test_credit_that_was_never_used_up_is_refused(granted: int) -> None:
    with pytest.raises(WireError):
        Outgoing(1, b"x", 0).credit(granted)
