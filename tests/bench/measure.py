"""Runs the load generator against one function of one peer, and holds what came out."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ONCE_TIMEOUT_S = 120.0
PROCESS_EXTRA_S = 60.0


@dataclass(frozen=True)
class Endpoint:
    host: str
    port: int
    access_key_id: str = "test"
    secret_access_key: str = "test"
    region: str = "us-east-1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def invoke_request(self, function_name: str, payload: bytes, *, event: bool = False) -> bytes:
        """The bytes that an SDK would send, signed with Signature Version 4; good for 15 minutes."""
        path = f"/2015-03-31/functions/{function_name}/invocations"
        headers = {"Host": f"{self.host}:{self.port}", "Content-Type": "application/json"}
        if event:
            headers["X-Amz-Invocation-Type"] = "Event"
        request = AWSRequest("POST", self.url + path, data=payload, headers=headers)
        SigV4Auth(Credentials(self.access_key_id, self.secret_access_key), "lambda", self.region).add_auth(request)
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
        return "\r\n".join([*lines, f"Content-Length: {len(payload)}", "", ""]).encode() + payload


@dataclass
class Sample:
    """Answers of one or several rounds. rates: successful answers a second, one a round."""

    latencies_s: array[float] = field(default_factory=lambda: array("f"))
    rates: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: Sample) -> None:
        self.latencies_s.extend(other.latencies_s)
        self.rates.extend(other.rates)
        self.statuses.update(other.statuses)
        self.failures.extend(other.failures)

    def quantile_ms(self, q: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000 if ordered else float("nan")

    @property
    def rate(self) -> float:
        return statistics.median(self.rates) if self.rates else 0.0

    @property
    def bad(self) -> int:
        return sum(count for status, count in self.statuses.items() if status not in ("200", "202"))

    @property
    def total(self) -> int:
        return sum(self.statuses.values())


def load(endpoint: Endpoint, requests: Sequence[bytes], *, clients: int, seconds: float | None) -> Sample:
    """Repeat the requests for some seconds, or (seconds None) send each once. Raises RuntimeError when the generator fails."""
    job = {
        "host": endpoint.host,
        "port": endpoint.port,
        "requests": [base64.b64encode(request).decode() for request in requests],
        "clients": clients,
        "seconds": seconds,
        "once_timeout_s": ONCE_TIMEOUT_S,
    }
    command = [sys.executable, "-m", "tests.bench.load"]
    limit_s = (seconds or ONCE_TIMEOUT_S) + PROCESS_EXTRA_S
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed: {done.stderr[-2000:]}")
    result = json.loads(done.stdout)
    latencies = array("f", base64.b64decode(result["latencies_s"]))
    statuses = Counter(result["statuses"])
    good = sum(count for status, count in statuses.items() if status in ("200", "202"))
    return Sample(latencies, [good / result["seconds"]], statuses, result["failures"])
