from __future__ import annotations

from services.worker.sandbox.flood import NEWEST_BYTES_MAX, Flood

LINE = b"an ordinary line\n"


def test_the_newest_is_kept_whatever_the_pieces_and_what_is_gone_is_counted() -> None:
    for size in (1, 100, NEWEST_BYTES_MAX - 1, NEWEST_BYTES_MAX, NEWEST_BYTES_MAX + 1, 64 * 1024):
        flood, written = Flood(), LINE * (8 * NEWEST_BYTES_MAX // len(LINE))
        for begin in range(0, len(written), size):
            flood.add(written[begin : begin + size])
        assert flood.newest == written[-NEWEST_BYTES_MAX:]
        assert flood.gone_bytes == len(written) - NEWEST_BYTES_MAX
        assert abs(flood.gone_lines - flood.gone_bytes / len(LINE)) <= 0.05 * flood.gone_lines


def test_what_is_no_more_than_the_newest_is_all_there() -> None:
    flood = Flood()
    flood.add(LINE)
    flood.add(b"the last words")
    assert (flood.newest, flood.gone_bytes, flood.gone_lines) == (LINE + b"the last words", 0, 0)
