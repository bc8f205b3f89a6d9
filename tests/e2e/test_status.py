"""What `lambdad status` says of a whole cluster."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit


def test_every_port_that_is_listed_is_open(cluster: Any) -> None:
    ports = {name: child["port"] for name, child in cluster.ready().items()}
    assert ports["frontend"] == urlsplit(cluster.endpoint).port
    assert None not in ports.values()
    for port in ports.values():
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
