"""The load generator of queues: a process of its own that sends, or receives and deletes, batches of ten over SQS's HTTP API.

`python -m tests.bench.queue_load`: one job as JSON on stdin, one result as JSON on stdout. Each connection has one request under
way at a time; every request is signed as it is sent.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import hmac
import json
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.load import HEAD_END, Client, Load
from tests.bench.signing import Endpoint

BATCH = 10
BODY = "a message of about a hundred bytes, as a queue may well have one: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"
RECEIVED = re.compile(rb'"ReceiptHandle": ?"([^"]+)"')
FAILED = re.compile(rb'"Failed": ?\[[^\]]')
DRAIN_S = 10.0
SIGNED = "content-type;host;x-amz-date;x-amz-target"


class Signer:
    """Requests in SQS's JSON protocol. Good for 15 minutes."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._signed_at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._scope = f"{self._signed_at[:8]}/{endpoint.region}/sqs/aws4_request"
        self._key = b"AWS4" + endpoint.secret_access_key.encode()
        for part in self._scope.split("/"):
            self._key = hmac.digest(self._key, part.encode(), "sha256")
        self._host = f"{endpoint.host}:{endpoint.port}"
        self._credential = f"{endpoint.access_key_id}/{self._scope}"

    def request(self, operation: str, body: bytes) -> bytes:
        target = f"AmazonSQS.{operation}"
        kind = "application/x-amz-json-1.0"
        lines = f"content-type:{kind}\nhost:{self._host}\nx-amz-date:{self._signed_at}\nx-amz-target:{target}\n\n{SIGNED}"
        canonical = f"POST\n/\n\n{lines}\n{hashlib.sha256(body).hexdigest()}".encode()
        hashed = hashlib.sha256(canonical).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{self._signed_at}\n{self._scope}\n{hashed}".encode()
        signature = hmac.digest(self._key, to_sign, "sha256").hex()
        head = (
            f"POST / HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: {kind}\r\nX-Amz-Date: {self._signed_at}\r\n"
            f"X-Amz-Target: {target}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={self._credential}, "
            f"SignedHeaders={SIGNED}, Signature={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class QueueLoad(Load):
    """What each connection asks next follows from what it was answered. messages: sent, or received and deleted."""

    def __init__(self, endpoint: Endpoint, urls: list[str], clients: int, until: float, *, sends: bool) -> None:
        self._signer = Signer(endpoint)
        self._urls = urls
        self._sends = sends
        self._turn = 0
        self._deleting: dict[Client, int] = {}
        self._handles: dict[Client, tuple[str, list[bytes]]] = {}
        self._asked: dict[Client, str] = {}
        self.messages = 0
        super().__init__(endpoint, self._unused(), clients, until)

    @staticmethod
    def _unused() -> Iterator[bytes]:
        yield from ()

    def _answered(self, client: Client, answer: bytes, now: float) -> None:
        if answer[9:12] == b"200" and not FAILED.search(answer):
            self._follow(client, answer.partition(HEAD_END)[2])
        elif answer[9:12] == b"200":
            self.statuses["failed in a batch"] += 1
        super()._answered(client, answer, now)

    def _follow(self, client: Client, body: bytes) -> None:
        if self._sends:
            self.messages += BATCH
        elif client in self._deleting:
            self.messages += self._deleting.pop(client)
        else:
            handles = RECEIVED.findall(body)
            if handles:
                self._handles[client] = self._asked[client], handles

    def _next(self, client: Client) -> None:
        if time.perf_counter() >= self._until:
            return self._close(client)
        try:
            client.send(self._request(client))
        except ConnectionError:
            self._lost(client)

    def _request(self, client: Client) -> bytes:
        if found := self._handles.pop(client, None):
            url, handles = found
            self._deleting[client] = len(handles)
            entries = ", ".join(f'{{"Id": "{n}", "ReceiptHandle": "{each.decode()}"}}' for n, each in enumerate(handles))
            return self._signer.request("DeleteMessageBatch", f'{{"QueueUrl": "{url}", "Entries": [{entries}]}}'.encode())
        self._turn += 1
        url = self._asked[client] = self._urls[self._turn % len(self._urls)]
        if self._sends:
            entries = ", ".join(f'{{"Id": "{n}", "MessageBody": "{BODY} {self._turn}"}}' for n in range(BATCH))
            return self._signer.request("SendMessageBatch", f'{{"QueueUrl": "{url}", "Entries": [{entries}]}}'.encode())
        return self._signer.request("ReceiveMessage", f'{{"QueueUrl": "{url}", "MaxNumberOfMessages": {BATCH}}}'.encode())


def run(job: dict[str, Any]) -> dict[str, object]:
    endpoint = Endpoint(**job["endpoint"])
    gc.disable()
    started = time.perf_counter()
    load = QueueLoad(endpoint, job["urls"], job["clients"], started + job["seconds"], sends=job["sends"])
    load.run(started + job["seconds"] + DRAIN_S)
    return {
        "seconds": max(load.last_answer - started, 1e-9),
        "messages": load.messages,
        "latencies_s": base64.b64encode(load.latencies_s.tobytes()).decode(),
        "statuses": load.statuses,
        "failures": load.failures,
    }


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
