"""The benchmarks' own parts: what they send is what a client sends, and what they say of it is true."""

from __future__ import annotations

import asyncio
import importlib
import json
import pkgutil
from collections.abc import Callable

import pytest

import tests.bench
from shared.aws.signatures.sigv4 import Verifier
from tests.bench.load import is_whole
from tests.bench.measure import Sample, load, send_all
from tests.bench.report import ECHO, Outcome, Row
from tests.bench.signing import Calls, Endpoint, requests

ENDPOINT = Endpoint("127.0.0.1", 9000, "AKIDEXAMPLE", "secret")
EVENT = b'{"message": "hello"}'


def _parsed(request: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, path, _ = first.split(b" ")
    headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    return method, path, headers, body


@pytest.mark.parametrize("event", [False, True])
def test_every_request_of_a_load_has_a_signature_of_its_own_that_is_valid(event: bool) -> None:
    verifier = Verifier(regions=["us-east-1"], service="lambda", find_secret=lambda *_: b"secret")
    sent = list(requests(ENDPOINT, Calls(["one", "two"], EVENT.decode(), 5, event)))
    signatures = set()
    for number, request in enumerate(sent):
        method, path, headers, body = _parsed(request)
        assert verifier.verify(method, path, b"", headers, body) == "AKIDEXAMPLE"
        assert path.split(b"/")[3] == (b"one", b"two")[number % 2]
        assert json.loads(body)["message"] == "hello"
        assert (b"x-amz-invocation-type", b"Event") in headers or not event
        signatures.add(dict(headers)[b"authorization"].rpartition(b"Signature=")[2])
    assert len(signatures) == len(sent)


class _Server:
    """Answers as it is told, in a process's own loop beside the generator, and never faster than requests are signed for."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.seen: list[bytes] = []
        self._answer = answer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                writer.close()
                return
            size = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
            self.seen.append(head + await reader.readexactly(size))
            await asyncio.sleep(0.001)
            writer.write(self._answer(self.seen[-1]))

    def measured(self, measure: Callable[[Endpoint], Sample]) -> Sample:
        async def run() -> Sample:
            async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                return await asyncio.to_thread(measure, Endpoint("127.0.0.1", port))

        return asyncio.run(run())


def test_a_load_sends_no_request_twice() -> None:
    server = _Server(lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    sample = server.measured(lambda endpoint: load(endpoint, "f", EVENT, clients=2, seconds=0.2))
    assert sample.total == len(server.seen) == len(set(server.seen)) > 0
    assert sample.bad == 0
    assert sample.rate > 0


def test_a_load_counts_what_was_not_answered_well() -> None:
    def answer(request: bytes) -> bytes:
        if b"/good/" in request:
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        return b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\noops"

    server = _Server(answer)
    sample = server.measured(lambda endpoint: send_all(endpoint, ["good", "bad"], EVENT, clients=1, count=4))
    assert (sample.statuses, sample.bad) == ({"200": 2, "502": 2}, 2)
    assert sample.failures[0].endswith("oops")


def test_an_answer_is_whole_when_its_body_is() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
    assert [is_whole(part) for part in (b"HTTP/1.1 2", head, head + b"ab", head + b"abc")] == [False, False, False, True]


def test_a_verdict_names_every_promise_and_whether_it_is_kept() -> None:
    rows = [Row("lambdad (python)", p50_ms=0.15, p99_ms=0.9), Row(ECHO, p50_ms=0.06, p99_ms=0.1)]
    outcome = Outcome("warm-latency", "warm", "p50_ms", 0.5, rows, p99_ms_max=1.0, echo_times_max=2.0)
    assert outcome.verdict() == "at most 0.5: met; p99 at most 1 ms: met; 2.50 times the echo, at most 2: MISSED"
    rates = [Row("lambdad (python)", per_s=16_000), Row(ECHO, per_s=46_000)]
    kept = Outcome("warm-throughput", "warm", "per_s", 14_000, rates, echo_times_max=3.0)
    assert kept.verdict() == "at least 14000: met; 2.88 times the echo, at most 3: met"


@pytest.mark.parametrize("name", sorted(module.name for module in pkgutil.iter_modules(tests.bench.__path__)))
def test_every_benchmark_still_fits_what_it_measures(name: str) -> None:
    """Nothing else looks at those that are not run for long."""
    try:
        importlib.import_module(f"tests.bench.{name}")
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in ("services", "shared", "deploy", "tests"):
            raise
        pytest.skip(f"a peer's own package is not installed: {error.name}")
