"""Services that are forwarded: real clients through the endpoint to moto, and targets that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ResponseStreamingError
from moto.server import ThreadedMotoServer

from shared.aws.signatures.arithmetic import EMPTY_SHA256, derive_key, sha256_hex
from shared.aws.signatures.chunked_payload import Seed
from shared.aws.signatures.sigv4 import Expected, Verifier, payload_hash
from tests.integration.frontend.conftest import KEY, SECRET, Frontend, running_frontend
from tests.integration.frontend.fake_target import (
    Behave,
    FakeTarget,
    answers,
    answers_oddly,
    breaks_off_before_its_answer,
    breaks_off_in_its_answer,
    hangs,
    target,
)
from tests.integration.frontend.test_services import client, refused
from tests.support import PATIENCE_S

IDLE_S = 1.0


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
async def frontend(moto: str) -> AsyncIterator[Frontend]:
    async with running_frontend(forward={"s3": moto, "*": moto}) as found:
        yield found


async def test_objects_of_many_megabytes_go_there_and_back(frontend: Frontend) -> None:
    s3, body = client(frontend, "s3"), os.urandom(6_000_000)
    await asyncio.to_thread(s3.create_bucket, Bucket="whole")
    for key in ("plain", "folder/with space, é+%25 & 'marks'.bin"):
        put = await asyncio.to_thread(s3.put_object, Bucket="whole", Key=key, Body=body, Metadata={"who": "me"})
        assert put["ETag"] == f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        got = await asyncio.to_thread(s3.get_object, Bucket="whole", Key=key)
        assert await asyncio.to_thread(got["Body"].read) == body
        assert got["Metadata"] == {"who": "me"}
        head = await asyncio.to_thread(s3.head_object, Bucket="whole", Key=key)
        assert head["ContentLength"] == len(body)
    part = await asyncio.to_thread(s3.get_object, Bucket="whole", Key="plain", Range="bytes=10-19")
    assert (await asyncio.to_thread(part["Body"].read), part["ResponseMetadata"]["HTTPStatusCode"]) == (body[10:20], 206)
    await asyncio.to_thread(s3.delete_object, Bucket="whole", Key="plain")
    found = await asyncio.to_thread(s3.list_objects_v2, Bucket="whole")
    assert [item["Key"] for item in found["Contents"]] == ["folder/with space, é+%25 & 'marks'.bin"]


async def test_uploads_in_parts_are_put_together(frontend: Frontend) -> None:
    s3, body = client(frontend, "s3"), os.urandom(11_000_000)
    await asyncio.to_thread(s3.create_bucket, Bucket="parts")
    config = TransferConfig(multipart_threshold=1_000_000, multipart_chunksize=5_242_880)
    await asyncio.to_thread(s3.upload_fileobj, io.BytesIO(body), "parts", "large", Config=config)
    back = io.BytesIO()
    await asyncio.to_thread(s3.download_fileobj, "parts", "large", back)
    assert back.getvalue() == body


async def test_presigned_links_work_for_whoever_has_them(frontend: Frontend) -> None:
    s3 = client(frontend, "s3", signature_version="s3v4")
    await asyncio.to_thread(s3.create_bucket, Bucket="links")
    await asyncio.to_thread(s3.put_object, Bucket="links", Key="a b", Body=b"linked")
    link = s3.generate_presigned_url("get_object", Params={"Bucket": "links", "Key": "a b"})
    with await asyncio.to_thread(urllib.request.urlopen, link, timeout=10) as answer:
        assert answer.read() == b"linked"
    with pytest.raises(urllib.error.HTTPError) as caught:  # type: ignore[attr-defined]
        await asyncio.to_thread(urllib.request.urlopen, link.replace("Signature=", "Signature=0"), timeout=10)
    assert caught.value.code == 403


async def test_a_link_that_was_signed_the_old_way_is_told_the_new_one(frontend: Frontend) -> None:
    link = client(frontend, "s3", signature_version="s3").generate_presigned_url(
        "get_object", Params={"Bucket": "b", "Key": "k"}
    )
    assert "AWSAccessKeyId" in link
    with pytest.raises(urllib.error.HTTPError) as caught:  # type: ignore[attr-defined]
        await asyncio.to_thread(urllib.request.urlopen, link, timeout=10)
    assert caught.value.code == 403
    assert b"signature_version='s3v4'" in caught.value.read()


async def test_an_error_of_the_target_is_the_clients(frontend: Frontend) -> None:
    found = await refused(client(frontend, "s3").get_object, Bucket="gone", Key="k")
    assert found["Error"]["Code"] == "NoSuchBucket"
    found = await refused(client(frontend, "s3").head_object, Bucket="gone", Key="k")
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 404


async def test_all_other_services_go_where_the_star_says(frontend: Frontend) -> None:
    dynamodb = client(frontend, "dynamodb")
    await asyncio.to_thread(
        dynamodb.create_table,
        TableName="t",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    await asyncio.to_thread(dynamodb.put_item, TableName="t", Item={"k": {"S": "é"}, "v": {"B": b"\x00" * 100_000}})
    found = await asyncio.to_thread(dynamodb.get_item, TableName="t", Key={"k": {"S": "é"}})
    assert found["Item"]["v"]["B"] == b"\x00" * 100_000
    queue = await asyncio.to_thread(client(frontend, "sqs").create_queue, QueueName="q")
    assert queue["QueueUrl"].endswith("/q")
    # What is served here stays here.
    assert (await asyncio.to_thread(client(frontend, "sts").get_caller_identity))["Account"] == "000000000000"


async def test_a_stranger_gets_no_further_than_here(frontend: Frontend) -> None:
    found = await refused(client(frontend, "s3", key="AKIASTRANGER").list_buckets)
    assert found["Error"]["Code"] == "InvalidAccessKeyId"
    found = await refused(client(frontend, "s3", secret="wrong").put_object, Bucket="b", Key="k", Body=b"x" * 200_000)
    assert found["Error"]["Code"] == "SignatureDoesNotMatch"
    found = await refused(client(frontend, "dynamodb", secret="wrong").list_tables)
    assert found["Error"]["Code"] == "InvalidSignatureException"


@contextlib.asynccontextmanager
async def behind(behave: Behave, **settings: Any) -> AsyncIterator[tuple[Frontend, FakeTarget]]:
    sign = settings.pop("sign", None)
    async with target(behave) as fake:
        async with running_frontend(forward={"s3": fake.url, "sqs": fake.url}, sign=sign, **settings) as found:
            yield found, fake


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_target_that_is_down_is_named_with_its_setting() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    async with running_frontend(forward={"s3": url, "sqs": url}) as found:
        for service, method in (("s3", "list_buckets"), ("sqs", "list_queues")):
            error = await refused(getattr(client(found, service), method))
            assert error["ResponseMetadata"]["HTTPStatusCode"] == 503
            assert error["Error"]["Code"] == "ServiceUnavailable"
            assert f"{service} is forwarded to {url} (LAMBDAD_FORWARD__{service.upper()})" in error["Error"]["Message"]


async def test_a_target_that_does_not_answer_is_given_up() -> None:
    async with behind(hangs, forward_idle_timeout_s=IDLE_S) as (found, fake):
        error = await refused(client(found, "sqs").list_queues)
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 504
        assert "did not answer in time" in error["Error"]["Message"]
        async with asyncio.timeout(PATIENCE_S):
            await fake.ended.wait()


async def test_a_target_that_breaks_off_before_its_answer_is_told() -> None:
    async with behind(breaks_off_before_its_answer) as (found, _):
        error = await refused(client(found, "s3").put_object, Bucket="b", Key="k", Body=b"x" * 100_000)
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 502
        assert "broke off" in error["Error"]["Message"]


async def test_an_answer_that_breaks_off_is_no_whole_answer_for_the_client() -> None:
    async with behind(breaks_off_in_its_answer) as (found, _):
        got = await asyncio.to_thread(client(found, "s3").get_object, Bucket="b", Key="k")
        with pytest.raises(ResponseStreamingError):
            await asyncio.to_thread(got["Body"].read)


async def test_headers_for_one_hop_stay_behind_and_all_others_pass() -> None:
    async with behind(answers_oddly) as (found, fake):
        request = signed_request(found, b"", {"x-odd": "yes"}, method="GET")
        answer = await found.send(request.replace(b"\r\n\r\n", b"\r\nte: trailers\r\nexpect: 100-continue\r\n\r\n", 1))
        head, _, body = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
        assert body == b"5\r\nhello\r\n0\r\n\r\n"
        assert head.count(b"set-cookie") == 2
        assert b"x-amz-meta-kept: yes" in head
        assert b"x-hop" not in head
        assert b"keep-alive" not in head
        names = [name for name, _ in fake.headers()]
        assert dict(fake.headers())[b"host"] == f"127.0.0.1:{found.port}".encode()
        assert b"x-odd" in names
        assert not {b"te", b"expect", b"connection"} & set(names)
        assert fake.head.startswith(b"GET /bucket/a%20key?x=1%2B2 HTTP/1.1\r\n")


def signed_request(
    found: Frontend,
    body: bytes,
    headers: dict[str, str] | None = None,
    *,
    method: str = "PUT",
    sent: bytes | None = None,
    region: str = "us-east-1",
) -> bytes:
    """As a client writes it to the wire. sent: the body that goes out in place of the signed one."""
    url = f"http://127.0.0.1:{found.port}/bucket/a%20key?x=1%2B2"
    signed_headers = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest(), **(headers or {})}
    request = AWSRequest(method, url, headers=signed_headers)
    SigV4AuthOfS3(Credentials(KEY, SECRET), "s3", region).add_auth(request)
    lines = [f"{method} /bucket/a%20key?x=1%2B2 HTTP/1.1", f"host: 127.0.0.1:{found.port}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    out = body if sent is None else sent
    lines += [f"content-length: {len(out)}"] if out else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + out


class SigV4AuthOfS3(SigV4Auth):  # type: ignore[misc]
    def _normalize_url_path(self, path: str) -> str:
        return path


async def test_a_body_that_was_changed_on_the_way_never_arrives_whole() -> None:
    async with behind(answers) as (found, fake):
        good = os.urandom(300_000)
        bad = bytearray(good)
        bad[5] ^= 1
        answer = await found.send(signed_request(found, good, sent=bytes(bad)))
        assert b"HTTP/1.1 403" in answer
        assert b"does not match what was computed" in answer
        async with asyncio.timeout(PATIENCE_S):
            await fake.ended.wait()
        assert len(fake.body) < len(good)
        answer = await found.send(signed_request(found, good))
        assert b"HTTP/1.1 200" in answer
        assert bytes(fake.body) == good


async def test_a_body_is_on_its_way_before_all_of_it_is_here() -> None:
    async with behind(answers) as (found, fake):
        body = os.urandom(1_000_000)
        raw = signed_request(found, body)
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
            writer.write(raw[: len(raw) // 2])
            await writer.drain()
            await fake.received(300_000)
            writer.write(raw[len(raw) // 2 :])
            answer = await reader.read()
            writer.close()
        assert b"HTTP/1.1 200" in answer
        assert bytes(fake.body) == body


async def test_a_client_that_goes_takes_its_request_along() -> None:
    async with behind(answers) as (found, fake):
        raw = signed_request(found, os.urandom(1_000_000))
        async with asyncio.timeout(PATIENCE_S):
            _, writer = await asyncio.open_connection("127.0.0.1", found.port)
            writer.write(raw[: len(raw) // 2])
            await writer.drain()
            await fake.began.wait()
            writer.transport.abort()
            await fake.ended.wait()
        assert len(fake.body) < 1_000_000


async def test_a_client_that_sends_slowly_is_not_cut_as_long_as_it_sends() -> None:
    async with behind(answers, request_body_timeout_s=2.0) as (found, fake):
        body = os.urandom(40_000)
        raw = signed_request(found, body)
        step = len(raw) // 8
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
            started = time.monotonic()
            for at in range(0, len(raw), step):
                writer.write(raw[at : at + step])
                await writer.drain()
                await asyncio.sleep(0.4)
            answer = await reader.read()
            writer.close()
        assert time.monotonic() - started > 1.5 * 2.0
        assert b"HTTP/1.1 200" in answer
        assert bytes(fake.body) == body


async def test_chunks_pass_as_they_are() -> None:
    async with behind(answers) as (found, fake):
        data = os.urandom(100_000)
        body = b"%x\r\n%b\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n" % (len(data), data)
        headers = {
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-decoded-content-length": str(len(data)),
            "x-amz-trailer": "x-amz-checksum-crc32",
            "content-encoding": "aws-chunked",
        }
        answer = await found.send(signed_request(found, body, headers))
        assert b"HTTP/1.1 200" in answer
        assert bytes(fake.body) == body
        assert dict(fake.headers())[b"content-encoding"] == b"aws-chunked"


def in_signed_chunks(found: Frontend, parts: list[bytes]) -> tuple[bytes, bytes]:
    """(request, its body) with a signature on every chunk."""
    sizes = [f"{len(part):x}" for part in (*parts, b"")]
    length = sum(len(size) + len(";chunk-signature=") + 64 + 2 for size in sizes) + sum(len(part) + 2 for part in parts) + 2
    headers = {
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-decoded-content-length": str(sum(map(len, parts))),
        "content-encoding": "aws-chunked",
    }
    raw = signed_request(found, b"", headers, sent=b"-" * length)
    head = raw[: raw.index(b"\r\n\r\n") + 4]
    lines = dict(line.partition(b": ")[::2] for line in head.lower().split(b"\r\n"))
    amz_date = lines[b"x-amz-date"].upper()
    key = derive_key(SECRET.encode(), amz_date[:8], b"us-east-1", b"s3")
    seed = Seed(
        key, lines[b"authorization"].rpartition(b"signature=")[2], amz_date, amz_date[:8] + b"/us-east-1/s3/aws4_request"
    )
    previous, body = seed.signature, b""
    for size, part in zip(sizes, (*parts, b""), strict=True):
        previous = key.sign(
            b"AWS4-HMAC-SHA256-PAYLOAD\n%b\n%b\n%b\n%b\n%b"
            % (amz_date, seed.scope_text, previous, EMPTY_SHA256, sha256_hex(part))
        )
        body += size.encode() + b";chunk-signature=" + previous + b"\r\n" + (part + b"\r\n" if part else b"")
    return head, body + b"\r\n"


async def test_signed_chunks_are_proven_on_their_way() -> None:
    async with behind(answers) as (found, fake):
        parts = [os.urandom(70_000), os.urandom(70_000), os.urandom(5)]
        head, body = in_signed_chunks(found, parts)
        assert b"HTTP/1.1 200" in await found.send(head + body)
        assert bytes(fake.body) == body
        changed = body.replace(parts[1][:8], bytes(8))
        answer = await found.send(head + changed)
        assert b"HTTP/1.1 403" in answer
        assert b"SignatureDoesNotMatch" in answer
        async with asyncio.timeout(PATIENCE_S):
            await fake.ended.wait()
        assert len(fake.body) < len(body)


OTHER_KEY, OTHER_SECRET = "AKIDOFTHETARGET", "the target's secret"
SIGN = {name: {"access_key_id": OTHER_KEY, "secret_access_key": OTHER_SECRET} for name in ("s3", "sqs")}


def verified(fake: FakeTarget, service: str) -> str:
    """The key that signed what the target got."""
    verifier = Verifier(
        regions=["us-east-1"],
        service=service,
        find_secret=lambda key, token: OTHER_SECRET.encode() if key == OTHER_KEY else None,
    )
    method, path, _ = fake.head.split(b" ", 2)
    raw_path, _, query = path.partition(b"?")
    headers = [(name, value) for name, value in fake.headers() if name != b"connection"]
    claim = verifier.claim(headers, query, Expected(service.encode(), None))
    return verifier.prove(claim, method, raw_path, query, payload_hash(claim, bytes(fake.body)))


async def test_requests_are_signed_again_where_the_settings_say_so() -> None:
    async with behind(answers, sign=SIGN) as (found, fake):
        body = os.urandom(200_000)
        assert b"HTTP/1.1 200" in await found.send(signed_request(found, body, {"x-amz-meta-a": "b"}))
        assert verified(fake, "s3") == OTHER_KEY
        assert dict(fake.headers())[b"host"] == fake.url.removeprefix("http://").encode()
        assert bytes(fake.body) == body
        await asyncio.to_thread(client(found, "sqs").send_message, QueueUrl="http://q", MessageBody="é")
        assert verified(fake, "sqs") == OTHER_KEY
        open_body = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
        assert b"HTTP/1.1 200" in await found.send(signed_request(found, body, open_body))
        assert verified(fake, "s3") == OTHER_KEY


async def test_what_is_signed_again_is_for_the_region_that_it_was_signed_for() -> None:
    elsewhere = {**SIGN["sqs"], "region": "eu-central-1"}
    async with behind(answers, sign={**SIGN, "sqs": elsewhere}) as (found, fake):
        assert b"HTTP/1.1 200" in await found.send(signed_request(found, b"x", region="é"))
        assert b"/us-east-1/s3/aws4_request" in dict(fake.headers())[b"authorization"], "what is no name of a region"
        for region in ("us-east-1", "eu-west-1", "ap-southeast-7"):
            assert b"HTTP/1.1 200" in await found.send(signed_request(found, b"x", region=region))
            assert verified(fake, "s3") == OTHER_KEY
            assert f"/{region}/s3/aws4_request".encode() in dict(fake.headers())[b"authorization"]
        await asyncio.to_thread(client(found, "sqs").send_message, QueueUrl="http://q", MessageBody="x")
        assert b"/eu-central-1/sqs/aws4_request" in dict(fake.headers())[b"authorization"], "unless a setting names one"


async def test_what_cannot_be_signed_again_is_refused() -> None:
    async with behind(answers, sign=SIGN) as (found, fake):
        headers = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x-amz-decoded-content-length": "1"}
        answer = await found.send(signed_request(found, b"1;chunk-signature=0\r\nx\r\n0\r\n\r\n", headers))
        assert b"HTTP/1.1 400" in answer
        assert b"cannot be signed again" in answer
        assert fake.requests == 0


async def test_a_presigned_link_is_signed_again_without_what_signed_it() -> None:
    async with behind(answers, sign=SIGN) as (found, fake):
        s3 = client(found, "s3", signature_version="s3v4")
        link = s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "a k", "VersionId": "1"})
        with await asyncio.to_thread(urllib.request.urlopen, link, timeout=10) as answer:
            assert answer.status == 200
        assert fake.head.startswith(b"GET /b/a%20k?versionId=1 HTTP/1.1")
        assert verified(fake, "s3") == OTHER_KEY
        with pytest.raises(urllib.error.HTTPError) as caught:  # type: ignore[attr-defined]
            await asyncio.to_thread(urllib.request.urlopen, link.replace("versionId=1", "versionId=2"), timeout=10)
        assert caught.value.code == 403
        assert fake.requests == 1


async def test_a_body_whose_signature_needs_all_of_it_has_a_limit() -> None:
    async with behind(answers) as (found, fake):
        with pytest.raises(ClientError, match="x-amz-content-sha256"):
            await asyncio.to_thread(client(found, "sqs").send_message, QueueUrl="http://q", MessageBody="x" * 17_000_000)
        assert fake.requests == 0


async def test_without_signatures_requests_pass_unsigned(moto: str) -> None:
    async with running_frontend(forward={"s3": moto}, auth=False) as found:
        s3 = client(found, "s3", key="whoever", secret="whatever")
        await asyncio.to_thread(s3.create_bucket, Bucket="unsigned")
        await asyncio.to_thread(s3.put_object, Bucket="unsigned", Key="k", Body=b"x" * 1_000_000)
        got = await asyncio.to_thread(s3.get_object, Bucket="unsigned", Key="k")
        assert await asyncio.to_thread(got["Body"].read) == b"x" * 1_000_000
