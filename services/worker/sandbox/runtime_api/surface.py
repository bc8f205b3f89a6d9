"""What the parts of a sandbox's API have in common: each answers the calls below some paths."""

from __future__ import annotations

from typing import Protocol

from services.worker.sandbox.runtime_api.wire.connection import Connection, Request

Reply = bytes | tuple[bytes, bytes]
"""In parts where its body is large."""


class Surface(Protocol):
    """Raises replies.ApiError, from `answer` alone."""

    def on_head(self, connection: Connection, request: Request) -> None:
        """The headers are there: say how much of the body is wanted."""

    def answer(self, connection: Connection, request: Request) -> Reply | None:
        """None: it is answered later, by `connection.reply`."""

    def on_closed(self, connection: Connection) -> None: ...
