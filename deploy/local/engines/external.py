"""An engine that the operator runs: named by its URL, neither started nor stopped here."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from deploy.local.engines import PROBE_TIMEOUT_S

DEFAULT_PORTS = {"redis": 6379, "queues": 6379, "postgres": 5432, "kafka": 9092}


class ExternalEngine:
    def __init__(self, name: str, variable: str, url: str) -> None:
        self.name = name
        self.url = url
        self._variable = variable

    def problem(self) -> str | None:
        """None when something accepts connections at the (first) address; the services find out the rest."""
        host, port = self._address()
        try:
            with socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S):
                return None
        except OSError as error:
            return f"{self._variable} names {host}:{port}, but: {error.strerror or error}"

    def _address(self) -> tuple[str, int]:
        first = self.url.split(",")[0]
        parts = urlsplit(first if "://" in first else f"//{first}")
        return parts.hostname or "127.0.0.1", parts.port or DEFAULT_PORTS[self.name]
