"""What has come to a queue, read from its stream beside whoever receives from it."""

from __future__ import annotations

from typing import Any

from shared.queues import stream_key

ARN = "arn:aws:sqs:us-east-1:000000000000:"


class QueueReader:
    """streams: Redis. bodies: those that came since `forget`, once each. held_at_wipe: those that were in it when Redis was
    wiped."""

    def __init__(self, streams: Any, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.arn = ARN + name
        self.bodies: list[str] = []
        self.held_at_wipe: set[str] = set()
        self._streams = streams
        self._key = stream_key(name)
        self._last = "-"

    def read(self) -> list[str]:
        """-> bodies that are new."""
        return self._take(self._streams.xrange(self._key, min=self._last))

    def ask(self, pipeline: Any) -> None:
        """For all that it holds, and all that is delayed."""
        pipeline.xrange(self._key)
        pipeline.xrange(f"{{{self._key}}}:later")

    def wiped(self, entries: list[tuple[str, dict[str, str]]], delayed: list[tuple[str, dict[str, str]]]) -> None:
        """What it held. It is no longer there, and known all the same."""
        self.held_at_wipe.update(fields["body"] for _, fields in (*entries, *delayed))
        after = self._last.removeprefix("(")
        self._take([entry for entry in entries if after == "-" or _place(entry[0]) > _place(after)])

    def forget(self) -> None:
        self.bodies.clear()
        self.held_at_wipe.clear()

    def _take(self, entries: list[tuple[str, dict[str, str]]]) -> list[str]:
        if entries:
            self._last = f"({entries[-1][0]}"
        new = [fields["body"] for _, fields in entries]
        self.bodies += new
        return new


def _place(entry: str) -> tuple[int, int]:
    at_ms, _, number = entry.partition("-")
    return int(at_ms), int(number)
