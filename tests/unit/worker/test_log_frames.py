from __future__ import annotations

import pytest

from services.worker.sandbox.log_frames import HEADER, LogFrames, Written
from shared.domain.limits import LOG_EVENT_BYTES_MAX

TRACEBACK = b"[ERROR] E: x\nTraceback (most recent call last):\n  File"


def framed(text: bytes, kind: int = 0xA55A0003) -> bytes:
    return HEADER.pack(kind.to_bytes(4, "big"), len(text), 1_700_000_000_000_000) + text


def fed(*chunks: bytes) -> list[Written]:
    frames = LogFrames()
    return [part for chunk in chunks for part in frames.feed(chunk)] + list(frames.flush(ended=True))


def joined(parts: list[Written]) -> list[Written]:
    """Without what depends on where the pipe was cut."""
    found: list[Written] = []
    for data, whole in parts:
        if found and not whole and not found[-1][1]:
            found[-1] = (found[-1][0] + data, False)
        else:
            found.append((data, whole))
    return found


def test_text_passes_as_it_came() -> None:
    assert fed(b"a\nb", b"c\n") == [(b"a\nb", False), (b"c\n", False)]


def test_a_record_is_one_whatever_lines_it_has() -> None:
    assert fed(b"before\n" + framed(TRACEBACK) + framed(b"one\n", 0xA55A000A) + b"after") == [
        (b"before\n", False),
        (TRACEBACK, True),
        (b"one\n", True),
        (b"after", False),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16, 17, 100])
def test_it_does_not_matter_where_the_pipe_is_cut(size: int) -> None:
    written = (
        "å text\n".encode() + framed(TRACEBACK) + "ends in å".encode() + framed(b"x") + b"\xa5\x5a\x01 is none\n" + framed(b"")
    )
    parts = joined(fed(*(written[at : at + size] for at in range(0, len(written), size))))
    assert parts == [
        ("å text\n".encode(), False),
        (TRACEBACK, True),
        ("ends in å".encode(), False),
        (b"x", True),
        (b"\xa5\x5a\x01 is none\n", False),
    ]


def test_a_record_over_an_events_size_is_several_and_no_more_of_it_is_held() -> None:
    frames = LogFrames()
    parts = list(frames.feed(framed(b"x" * (2 * LOG_EVENT_BYTES_MAX + 5))))
    assert [len(data) for data, _ in parts] == [LOG_EVENT_BYTES_MAX, LOG_EVENT_BYTES_MAX, 5]
    endless = HEADER.pack(b"\xa5\x5a\x00\x03", 0xFFFFFFFF, 0)
    assert list(frames.feed(endless + b"y" * 10)) == []
    assert list(frames.flush(ended=True)) == [(b"y" * 10, True)]
    assert list(frames.feed(b"plain again\n")) == [(b"plain again\n", False)]


def test_what_only_looked_like_a_beginning_is_given_at_the_end_of_an_invocation() -> None:
    frames = LogFrames()
    assert list(frames.feed("å".encode())) == [(b"\xc3", False)]
    assert list(frames.flush(ended=False)) == [(b"\xa5", False)]
