"""Topics: messages published in batches of ten over SNS's HTTP API, and how fast they are at the queues that are subscribed.

How far the fan-out is, is read where it is kept: in the offsets that routers have committed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
import traceback
import uuid
from collections.abc import Iterator
from urllib.parse import urlencode

import boto3

from shared.settings.kafka import KafkaCluster
from tests.bench.event_cases import Progress
from tests.bench.load import DRAIN_S, Load
from tests.bench.peers.cluster import Cluster
from tests.bench.report import Outcome, Row
from tests.bench.signing import Endpoint

CLIENTS = 16
BATCH = 10
BODY = "a message of about a hundred bytes, as a topic may well have one: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"
FAN_OUTS = (1, 10)
SIGNED = "content-type;host;x-amz-date"
KIND = "application/x-www-form-urlencoded"


def topics(cluster: Cluster, absent: str | None, seconds: float) -> Outcome:
    """A row for raw subscriptions and one for envelopes, which are signed, with each number of queues."""
    outcome = Outcome(
        "topics", f"messages published in batches of {BATCH}, and fanned out, {CLIENTS} clients", "executed_per_s"
    )
    for queues in FAN_OUTS:
        for raw in (True, False):
            name = f"lambdad, {queues} queue{'s' if queues > 1 else ''}, {'raw' if raw else 'enveloped'}"
            if absent:
                outcome.rows.append(Row(name, absent=absent))
                continue
            try:
                outcome.rows.append(asyncio.run(_round(cluster, name, queues, seconds, raw=raw)))
            except Exception as error:
                traceback.print_exc()
                outcome.rows.append(Row(name, absent=f"failed while it was measured: {error}"))
    return outcome


async def _round(cluster: Cluster, name: str, queues: int, seconds: float, *, raw: bool) -> Row:
    endpoint = cluster.endpoint()
    topic = await asyncio.to_thread(_made, endpoint, queues, raw=raw)
    async with Progress(KafkaCluster.of_variables(cluster.variables), "lambdad.sns", "lambdad.sns") as progress:
        before = await progress.committed()
        began = time.perf_counter()
        # As many deliveries, however many queues there are: all of them have to be made before the deadline.
        until = began + seconds / queues
        load = Load(endpoint, publish_requests(endpoint, topic), CLIENTS, until)
        await asyncio.to_thread(load.run, until + DRAIN_S)
        published = load.statuses["200"] * BATCH
        after, took_s = await progress.wait(before + published, began)
        if after < before + published:
            raise RuntimeError(f"{before + published - after} of {published} messages were not fanned out in time")
    ordered = sorted(load.latencies_s)
    return Row(
        name,
        p50_ms=ordered[len(ordered) // 2] * 1_000,
        p99_ms=ordered[int(len(ordered) * 0.99)] * 1_000,
        per_s=published / (load.last_answer - began),
        executed_per_s=published / took_s,
        count=published,
        failed=sum(count for status, count in load.statuses.items() if status != "200"),
        note="per_s: published; executed: fanned out; p50, p99: of a batch",
    )


def _made(endpoint: Endpoint, queues: int, *, raw: bool) -> str:
    keys = {"aws_access_key_id": endpoint.access_key_id, "aws_secret_access_key": endpoint.secret_access_key}
    session = boto3.session.Session(region_name=endpoint.region, **keys)
    sns, sqs = (session.client(service, endpoint_url=endpoint.url) for service in ("sns", "sqs"))
    name = f"bench-{uuid.uuid4().hex[:8]}"
    topic = str(sns.create_topic(Name=name)["TopicArn"])
    for number in range(queues):
        sqs.create_queue(QueueName=f"{name}-{number}")
        arn = f"arn:aws:sqs:{endpoint.region}:000000000000:{name}-{number}"
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": str(raw).lower()})
    return topic


def publish_requests(endpoint: Endpoint, topic: str) -> Iterator[bytes]:
    """Without an end, each signed as it is sent; good for 15 minutes."""
    signed_at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{signed_at[:8]}/{endpoint.region}/sns/aws4_request"
    key = b"AWS4" + endpoint.secret_access_key.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    host = f"{endpoint.host}:{endpoint.port}"
    lines = f"content-type:{KIND}\nhost:{host}\nx-amz-date:{signed_at}\n\n{SIGNED}"
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: {KIND}\r\nX-Amz-Date: {signed_at}\r\n"
    head += f"Authorization: AWS4-HMAC-SHA256 Credential={endpoint.access_key_id}/{scope}, SignedHeaders={SIGNED}, Signature="
    form = {"Action": "PublishBatch", "Version": "2010-03-31", "TopicArn": topic}
    for entry in range(1, BATCH + 1):
        place = f"PublishBatchRequestEntries.member.{entry}"
        form |= {f"{place}.Id": str(entry), f"{place}.Message": BODY}
    fixed, number = urlencode(form), 0
    while True:
        number += 1
        body = f"{fixed}+{number}".encode()
        canonical = f"POST\n/\n\n{lines}\n{hashlib.sha256(body).hexdigest()}".encode()
        to_sign = f"AWS4-HMAC-SHA256\n{signed_at}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}".encode()
        signature = hmac.digest(key, to_sign, "sha256").hex()
        yield f"{head}{signature}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
