"""A topic with one subscription, of an address that confirms it and from then on takes every connection and never answers."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import uuid
from types import TracebackType
from typing import Self

import boto3

from tests.bench.signing import Endpoint

RETRIES = {"numRetries": 100, "minDelayTarget": 20, "maxDelayTarget": 20}
"""So many that none of them is over while it is watched."""
CONFIRM_TIMEOUT_S = 60.0
REQUEST_BYTES_MAX = 64 * 1024


class StuckTarget:
    """connections: how many have come."""

    def __init__(self, endpoint: Endpoint) -> None:
        keys = {"aws_access_key_id": endpoint.access_key_id, "aws_secret_access_key": endpoint.secret_access_key}
        self._sns = boto3.client("sns", endpoint_url=endpoint.url, region_name=endpoint.region, **keys)
        self.topic_arn = str(self._sns.create_topic(Name=f"stuck-{uuid.uuid4().hex[:8]}")["TopicArn"])
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._take_all, daemon=True)
        self.connections = 0

    def __enter__(self) -> Self:
        host, port = self._listener.getsockname()
        self._sns.subscribe(
            TopicArn=self.topic_arn,
            Protocol="http",
            Endpoint=f"http://{host}:{port}/",
            Attributes={"DeliveryPolicy": json.dumps({"healthyRetryPolicy": RETRIES})},
        )
        self._listener.settimeout(CONFIRM_TIMEOUT_S)
        asked, _ = self._listener.accept()
        with asked:
            asked.settimeout(CONFIRM_TIMEOUT_S)
            token = json.loads(_body(asked))["Token"]
            asked.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self._sns.confirm_subscription(TopicArn=self.topic_arn, Token=token)
        self._listener.settimeout(None)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._sns.delete_topic(TopicArn=self.topic_arn)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for each in self._open:
            each.close()

    def _take_all(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self._listener.accept()
                self.connections += 1
                self._open.append(taken)


def _body(connection: socket.socket) -> bytes:
    """Of one request, by its Content-Length."""
    data = b""
    while len(data) < REQUEST_BYTES_MAX:
        head, end, body = data.partition(b"\r\n\r\n")
        if end:
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            if len(body) >= int(length.partition(b":")[2]):
                return body
        piece = connection.recv(REQUEST_BYTES_MAX)
        if not piece:
            break
        data += piece
    raise ConnectionError("no whole request came")
