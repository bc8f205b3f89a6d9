"""A pipe as functions write to it, and a log that keeps less than is written."""

from __future__ import annotations

import asyncio
import os

import pytest

from services.worker.sandbox import output
from services.worker.sandbox.flood import NEWEST_BYTES_MAX
from services.worker.sandbox.log_frames import HEADER
from services.worker.sandbox.output import KEPT_BYTES_SAVED_MAX, OutputPipe
from services.worker.sandbox.work_budget import WorkBudget, all_sandboxes
from services.worker.telemetry.events import LogsDropped
from tests.support import PATIENCE_S

LINES = (b"x" * 99 + b"\n") * 10_000
LAST_WORDS = b"the last words\n"


class Reader:
    """What comes out: pieces, and what is missing between them."""

    def __init__(self) -> None:
        self.out: list[tuple[bytes, bool] | LogsDropped] = []
        self.pipe = OutputPipe(os.getuid(), WorkBudget(all_sandboxes()))
        self.pipe.deliver_to(lambda data, whole: self.out.append((data, whole)), self.out.append)
        self.fd = self.pipe.take_write_end()

    async def write(self, *parts: bytes) -> None:
        """As a blocking writer does; then the end of an invocation."""
        async with asyncio.timeout(PATIENCE_S):
            for part in parts:
                await asyncio.to_thread(self._write, part)
        self.pipe.drain()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.fd, data) :]

    def close(self) -> None:
        os.close(self.fd)
        self.pipe.close()

    @property
    def kept(self) -> bytes:
        return b"".join(each[0] for each in self.out if not isinstance(each, LogsDropped))

    @property
    def dropped(self) -> list[LogsDropped]:
        return [each for each in self.out if isinstance(each, LogsDropped)]


async def test_what_a_log_may_keep_comes_out_as_it_was_written() -> None:
    reader = Reader()
    await reader.write(LINES, LINES, LAST_WORDS)
    assert reader.kept == LINES + LINES + LAST_WORDS
    assert reader.dropped == []
    reader.close()


async def test_a_line_that_is_written_in_pieces_comes_out_when_it_ends_or_its_event_is_over_or_it_is_very_long() -> None:
    reader = Reader()
    os.write(reader.fd, b"one\ntwo")
    reader.pipe._on_readable()
    os.write(reader.fd, b" words")
    reader.pipe._on_readable()
    assert reader.out == [(b"one\n", False)]
    os.write(reader.fd, b"\nthr")
    reader.pipe._on_readable()
    assert reader.out[1:] == [(b"two words\n", False)]
    await reader.write(b"ee")
    assert reader.out[2:] == [(b"three", False)]
    for _ in range(16):
        os.write(reader.fd, b"x" * 4_096)
        reader.pipe._on_readable()
    assert reader.out[3:] == []
    os.write(reader.fd, b"y")
    reader.pipe._on_readable()
    assert reader.out[3:] == [(b"x" * 65_536 + b"y", False)]
    os.write(reader.fd, b"last")
    reader.pipe._on_readable()
    reader.close()
    assert reader.out[4:] == [(b"last", False)]


async def test_a_line_that_does_not_end_is_not_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LINE_WAIT_S", 0.1)
    reader = Reader()
    os.write(reader.fd, b"one\nworking")
    reader.pipe._on_readable()
    assert reader.out == [(b"one\n", False)]
    told: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    reader.pipe.deliver_to(lambda data, whole: told.set_result(data), reader.out.append)
    async with asyncio.timeout(PATIENCE_S):
        assert await told == b"working"
    reader.close()


@pytest.fixture
def nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine: what is saved up may be kept, and no more comes with time."""
    monkeypatch.setattr(output, "KEPT_BYTES_A_SECOND", 1)


@pytest.mark.usefixtures("nothing_more")
async def test_of_more_than_that_all_that_is_missing_is_told_of_and_the_last_words_are_there() -> None:
    reader = Reader()
    await reader.write(*[LINES] * 30, LAST_WORDS)
    dropped_bytes = sum(each.dropped_bytes for each in reader.dropped)
    assert len(reader.kept) + dropped_bytes == 30 * len(LINES) + len(LAST_WORDS)
    assert abs(sum(each.dropped_records for each in reader.dropped) - dropped_bytes / 100) <= dropped_bytes / 1_000
    assert KEPT_BYTES_SAVED_MAX - 65_536 <= len(reader.kept) <= KEPT_BYTES_SAVED_MAX + NEWEST_BYTES_MAX
    assert reader.kept.endswith(b"x\n" + LAST_WORDS)
    reader.close()


@pytest.mark.usefixtures("nothing_more")
async def test_a_record_that_a_flood_has_cut_takes_nothing_of_what_comes_after_it() -> None:
    reader = Reader()
    record = HEADER.pack(b"\xa5\x5a\x00\x03", 30 * len(LINES), 0)
    await reader.write(record, *[LINES] * 30)
    assert reader.dropped
    reader.out.clear()
    await reader.write(LAST_WORDS)
    assert reader.out == [(LAST_WORDS, False)]
    reader.close()
