"""Queues over SQS's HTTP API: what is sent, and what is received and deleted, each in batches of ten, beside others that have it."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
import traceback
from array import array
from collections import Counter
from dataclasses import asdict

import boto3
from botocore.config import Config

from tests.bench.http_cases import Running
from tests.bench.measure import Sample
from tests.bench.peers import HttpPeer
from tests.bench.report import Outcome, Row
from tests.bench.signing import Endpoint

CLIENTS = 32
QUEUES = 100
ROUNDS = 2
PROCESS_EXTRA_S = 60.0
TARGET_PER_S = 20_000


def queues(peers: Running, seconds: float) -> Outcome:
    """Rounds of all peers alternate; of each, a round of sending and then one of receiving what was sent."""
    title = f"messages sent, and received and deleted, in batches of ten, {QUEUES} queues, {CLIENTS} clients"
    outcome = Outcome("queues", title, "executed_per_s", TARGET_PER_S)
    samples: dict[str, list[tuple[Sample, Sample]]] = {peer.name: [] for peer, _ in peers}
    absent = {peer.name: why for peer, why in peers}
    for number in range(ROUNDS):
        for peer, _ in peers:
            if absent[peer.name] is None:
                try:
                    samples[peer.name].append(_round(peer, number, seconds))
                except Exception as error:
                    traceback.print_exc()
                    absent[peer.name] = f"failed while it was measured: {error}"
    for peer, _ in peers:
        outcome.rows.append(_row(peer.name, samples[peer.name], absent[peer.name]))
    return outcome


def _row(name: str, samples: list[tuple[Sample, Sample]], absent: str | None) -> Row:
    if absent is not None or not samples:
        return Row(name, absent=absent or "not measured")
    requests = Sample()
    for sent, received in samples:
        requests.add(sent)
        requests.add(received)
    return Row(
        name,
        p50_ms=requests.quantile_ms(0.5),
        p99_ms=requests.quantile_ms(0.99),
        per_s=statistics.median(sent.rate for sent, _ in samples),
        executed_per_s=statistics.median(received.rate for _, received in samples),
        count=requests.total,
        failed=requests.bad,
        note="per_s: sent; executed: received and deleted; p50, p99: of a request",
    )


def _round(peer: HttpPeer, number: int, seconds: float) -> tuple[Sample, Sample]:
    endpoint = peer.endpoint()
    urls = made(endpoint, str(number), QUEUES)
    sent = generate(endpoint, urls, seconds, sends=True)
    # Receiving is to find messages for as long as it is measured: it may well be the quicker of the two.
    generate(endpoint, urls, seconds / 2, sends=True)
    return sent, generate(endpoint, urls, seconds, sends=False)


def made(endpoint: Endpoint, kind: str, count: int) -> list[str]:
    """URLs of new queues."""
    client = boto3.client(
        "sqs",
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key_id,
        aws_secret_access_key=endpoint.secret_access_key,
        config=Config(retries={"max_attempts": 0}, read_timeout=30),
    )
    attributes = {"VisibilityTimeout": "600"}
    return [client.create_queue(QueueName=f"bench-{kind}-{n}", Attributes=attributes)["QueueUrl"] for n in range(count)]


def generate(endpoint: Endpoint, urls: list[str], seconds: float, *, sends: bool) -> Sample:
    """rates: messages a second. Raises RuntimeError when the generator fails."""
    job = {"endpoint": asdict(endpoint), "urls": urls, "clients": CLIENTS, "seconds": seconds, "sends": sends}
    command = [sys.executable, "-m", "tests.bench.queue_load"]
    limit_s = seconds + PROCESS_EXTRA_S
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed: {done.stderr[-2000:]}")
    result = json.loads(done.stdout)
    latencies = array("f", base64.b64decode(result["latencies_s"]))
    rates = [result["messages"] / result["seconds"]]
    return Sample(latencies, rates, Counter(result["statuses"]), result["failures"])
