"""An HTTP server of the test's own, which topics post to."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support import wait_until

REQUEST_S = 30.0


class Address:
    """Confirms what it is asked to confirm. ids: of messages that it took, in turn. While it holds (`holding`), it reads, and
    neither answers nor takes: who posts has tried, and has to try again."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._held = 0
        self._answering = threading.Event()
        self._answering.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = REQUEST_S

            def do_POST(self) -> None:
                if not outer._takes(self.rfile.read(int(self.headers["Content-Length"]))):
                    self.close_connection = True
                    return
                # Whom nobody waits for any longer cannot be answered.
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Not on the test's output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    @contextlib.contextmanager
    def listening(self) -> Iterator[Address]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._answering.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join(10)

    @contextlib.contextmanager
    def holding(self, tries: int, deadline_s: float) -> Iterator[None]:
        """The block begins when so many posts wait for an answer, which none of them gets."""
        self._held = 0
        self._answering.clear()
        try:
            wait_until(lambda: self._held >= tries, deadline_s=deadline_s, what=f"{tries} posts")
            yield
        finally:
            self._answering.set()

    def _takes(self, body: bytes) -> bool:
        message = json.loads(body)
        if message["Type"] == "SubscriptionConfirmation":
            with urllib.request.urlopen(message["SubscribeURL"], timeout=REQUEST_S):
                return True
        if not self._answering.is_set():
            self._held += 1
            self._answering.wait(REQUEST_S)
            return False
        self.ids.append(message["MessageId"])
        return True
