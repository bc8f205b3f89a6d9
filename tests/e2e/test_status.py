"""What `lambdad status` says of a whole cluster."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit


def test_every_port_that_is_listed_is_open(cluster: Any) -> None:
    children = json.loads(cluster.run("status", "--json").stdout)["cluster"]["children"]
    ports = {child["name"]: child["port"] for child in children}
    assert ports["frontend"] == urlsplit(cluster.endpoint).port
    assert None not in ports.values()
    for port in ports.values():
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
