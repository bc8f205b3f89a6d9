"""Benchmarks of the control plane: reading, creating and listing functions, with few of them and with a million."""

from __future__ import annotations

import base64
import http.client
import json
import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.bench.functions import package
from tests.bench.http_cases import Running, alternate, rows
from tests.bench.measure import Sample
from tests.bench.peers import HttpPeer
from tests.bench.peers.cluster import Cluster
from tests.bench.registry_rows import fill, name_of
from tests.bench.report import Outcome, Row
from tests.bench.signing import Endpoint
from tests.support import ROLE

FUNCTIONS = "/2015-03-31/functions"
GETS, CREATES, LOOKS = 300, 20, 300
"""Calls in one round."""
ROUNDS = 3
ACTIVE_S = 30.0
LISTED, MILLION = 100_000, 1_000_000
PAGES = 100
GET_MS, CREATE_MS = 2.0, 25.0


class Caller:
    """One connection; requests are signed before the clock starts."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=30)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[float, int, bytes]:
        """Seconds, status, body."""
        data = b"" if body is None else json.dumps(body).encode()
        about = {"Host": f"{self._endpoint.host}:{self._endpoint.port}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        request = AWSRequest(method, self._endpoint.url + path, data=data, headers=about)
        secret = Credentials(self._endpoint.access_key_id, self._endpoint.secret_access_key)
        SigV4Auth(secret, "lambda", self._endpoint.region).add_auth(request)
        target = request.prepare().url.removeprefix(self._endpoint.url)
        began = time.perf_counter()
        self._connection.request(method, target, body=data, headers=dict(request.headers.items()))
        answer = self._connection.getresponse()
        content = answer.read()
        return time.perf_counter() - began, answer.status, content

    def create(self) -> tuple[float, str]:
        """Seconds until the new function is seen to be Active, and its name."""
        name = f"bench-{uuid.uuid4().hex[:12]}"
        code = {"ZipFile": base64.b64encode(package("python")).decode()}
        wanted = {"FunctionName": name, "Runtime": "python3.12", "Handler": "index.handler", "Role": ROLE, "Code": code}
        taken, status, content = self("POST", FUNCTIONS, wanted)
        if status != 201:
            raise RuntimeError(f"CreateFunction answered {status} {content[:300]!r}")
        while json.loads(content).get("State", "Active") != "Active":
            if taken > ACTIVE_S:
                raise RuntimeError(f"{name} is not active after {ACTIVE_S} s")
            more, _, content = self("GET", f"{FUNCTIONS}/{name}/configuration")
            taken += more
        return taken, name


def sample_of(calls: Iterator[tuple[float, int, bytes]]) -> Sample:
    sample = Sample()
    for seconds, status, content in calls:
        sample.latencies_s.append(seconds)
        sample.statuses["200" if status in (200, 201, 202, 204) else str(status)] += 1
        if status >= 300:
            sample.failures.append(content[:200].decode(errors="replace"))
    sample.rates.append(len(sample.latencies_s) / max(sum(sample.latencies_s), 1e-9))
    return sample


def get(peers: Running) -> Outcome:
    def measure(peer: HttpPeer) -> Sample:
        call, name = Caller(peer.endpoint()), peer.warm_function()
        call("GET", f"{FUNCTIONS}/{name}")
        return sample_of(call("GET", f"{FUNCTIONS}/{name}") for _ in range(GETS))

    return Outcome(
        "registry-get", "GetFunction, 1 client", "p50_ms", GET_MS, rows(alternate(peers, ROUNDS, measure), rate=False)
    )


def create(peers: Running) -> Outcome:
    def measure(peer: HttpPeer) -> Sample:
        call = Caller(peer.endpoint())
        return sample_of((call.create()[0], 201, b"") for _ in range(CREATES))

    found = rows(alternate(peers, ROUNDS, measure), rate=False)
    return Outcome("registry-create", "CreateFunction of a small zip until Active", "p50_ms", CREATE_MS, found)


def listing(cluster: Cluster, absent: str | None) -> Outcome:
    """Every page over 100,000 functions, from the first to the last."""
    title = f"ListFunctions, all pages over {LISTED:,} functions"
    if absent:
        return Outcome("registry-list", title, "p50_ms", rows=[Row("lambdad", absent=absent)])
    call = _filled(cluster, range(LISTED))
    taken, marker = [], ""
    while True:
        seconds, status, content = call("GET", f"{FUNCTIONS}/" + (f"?Marker={marker}" if marker else ""))
        page = json.loads(content)
        assert status == 200, content[:300]
        taken.append((seconds, status, b""))
        marker = page.get("NextMarker") or ""
        if not marker:
            break
    first, last = sample_of(iter(taken[:PAGES])), sample_of(iter(taken[-PAGES - 1 : -1]))
    ratio = statistics.median(last.latencies_s) / statistics.median(first.latencies_s)
    found = [_row("lambdad (first pages)", first), _row("lambdad (last pages)", last, f"{ratio:.2f} times the first")]
    return Outcome("registry-list", title, "p50_ms", rows=found)


def million(cluster: Cluster, absent: str | None) -> Outcome:
    """What clients do most, with a million functions in the registry."""
    title = f"{MILLION:,} functions in the registry"
    if absent:
        return Outcome("registry-million", title, "p50_ms", GET_MS, [Row("lambdad", absent=absent)])
    call = _filled(cluster, range(MILLION))
    chosen = random.Random(1)

    def any_name() -> str:
        return name_of(chosen.randrange(MILLION))

    def page() -> tuple[float, int, bytes]:
        # A marker is the base64 of the last name that was seen.
        marker = base64.urlsafe_b64encode(json.dumps(any_name()).encode()).decode()
        return call("GET", f"{FUNCTIONS}/?Marker={marker}")

    def dry_run() -> tuple[float, int, bytes]:
        return call("POST", f"{FUNCTIONS}/{any_name()}/invocations", {}, X_Amz_Invocation_Type="DryRun")

    work: dict[str, Callable[[], tuple[float, int, bytes]]] = {
        "get": lambda: call("GET", f"{FUNCTIONS}/{any_name()}"),
        "list": page,
        "resolve": dry_run,
        "create": lambda: (call.create()[0], 201, b""),
    }
    found = [_row(f"lambdad ({name})", sample_of(one() for _ in range(LOOKS))) for name, one in work.items()]
    return Outcome("registry-million", title, "p50_ms", GET_MS, found)


def _filled(cluster: Cluster, numbers: range) -> Caller:
    """A caller of a cluster that has these functions, made of one that was created like any other."""
    call = Caller(cluster.endpoint())
    _, template = call.create()
    _, status, _ = call("GET", f"{FUNCTIONS}/{name_of(LISTED - 1)}")
    missing = numbers if status == 404 else range(LISTED, numbers.stop)
    if missing:
        fill(cluster.variables["DATABASE_URL"], template, missing)
    return call


def _row(name: str, sample: Sample, note: str = "") -> Row:
    return Row(name, sample.quantile_ms(0.5), sample.quantile_ms(0.99), count=sample.total, failed=sample.bad, note=note)
