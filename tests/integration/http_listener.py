"""An HTTP server on loopback that remembers what it was asked and answers as it is told."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

ARRIVE_S = 30.0
Answer = tuple[int, dict[str, str], bytes]


class Requested(NamedTuple):
    """path: with its query. headers: by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Listener:
    """answers: in turn; 200 when there is none left."""

    def __init__(self) -> None:
        self._requested: queue.Queue[Requested] = queue.Queue(maxsize=1_000)
        self.answers: list[Answer] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer._requested.put_nowait(Requested(self.command, self.path, headers, body))
                status, more, content = outer.answers.pop(0) if outer.answers else (200, {}, b"")
                self.send_response(status)
                for name, value in {**more, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                """Not on the test's output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listener]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(10)

    def next(self) -> Requested:
        """What it was asked next. Raises queue.Empty."""
        return self._requested.get(timeout=ARRIVE_S)

    def nothing_left(self) -> bool:
        return self._requested.empty()
