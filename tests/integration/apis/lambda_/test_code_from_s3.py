"""Code that a request names by bucket and key, from a real S3 server and from a folder; and packages kept in S3."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.frontend.apis.lambda_ import code
from shared.domain.errors import (
    AccessDeniedException,
    ConfigurationError,
    InvalidParameterValueException,
    ServiceException,
)
from shared.registry.code_sources import CodeSource, SourceTooLargeError
from shared.registry.packages import PackageError, PackageStore
from shared.registry.registry import Registry
from shared.settings import RegistrySettings, S3Settings, Settings
from tests.integration.registry.s3_server import client_of, s3_server
from tests.integration.registry.support import OTHER_ZIP, ZIP, Control, control_of

GET_OBJECT = "Error occurred while GetObject. S3 Error Code: "


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3-server")) as url:
        yield url


@pytest.fixture(scope="module")
def s3(endpoint: str) -> Any:
    return client_of(endpoint)


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def s3_settings(endpoint: str, **more: Any) -> S3Settings:
    keys = {"access_key_id": "an-access-key", "secret_access_key": SecretStr("a-secret")}
    return S3Settings(endpoint_url=endpoint, **(keys | more))


@pytest_asyncio.fixture
async def with_s3(registry_settings: Settings, endpoint: str) -> AsyncIterator[Control]:
    """Handlers whose code comes from S3 and whose packages are kept there too."""
    client_of(endpoint).create_bucket(Bucket="packages")
    settings = registry_settings.model_copy(
        update={
            "s3": s3_settings(endpoint),
            "registry": registry_settings.registry.model_copy(update={"package_store_url": "s3://packages/some/prefix/"}),
        }
    )
    async with control_of(settings) as control:
        yield control


def hashed(package: bytes) -> str:
    return base64.b64encode(hashlib.sha256(package).digest()).decode()


async def test_functions_and_layers_are_made_from_objects_and_kept_in_s3(with_s3: Control, s3: Any, bucket: str) -> None:
    control = with_s3
    s3.put_object(Bucket=bucket, Key="code/a+b ü%20.zip", Body=ZIP)
    s3.put_object(Bucket=bucket, Key="other.zip", Body=OTHER_ZIP)
    name = await control.create(Code={"S3Bucket": bucket, "S3Key": "code/a+b ü%20.zip"})
    shown = await control("GetFunctionConfiguration", FunctionName=name)
    assert (shown["State"], shown["CodeSha256"], shown["CodeSize"]) == ("Active", hashed(ZIP), len(ZIP))
    updated = await control("UpdateFunctionCode", FunctionName=name, S3Bucket=bucket, S3Key="other.zip")
    assert updated["CodeSha256"] == hashed(OTHER_ZIP)
    layer = await control("PublishLayerVersion", LayerName=f"l-{bucket}", Content={"S3Bucket": bucket, "S3Key": "other.zip"})
    assert (layer["Content"]["CodeSha256"], layer["Content"]["CodeSize"]) == (hashed(OTHER_ZIP), len(OTHER_ZIP))
    keys = {one["Key"] for one in s3.list_objects_v2(Bucket="packages", Prefix="some/prefix/")["Contents"]}
    for package in (ZIP, OTHER_ZIP):
        sha256 = hashlib.sha256(package).hexdigest()
        assert f"some/prefix/{sha256[:2]}/{sha256}.zip" in keys
        assert await PackageStore(control.settings).get(sha256) == package


async def test_the_version_asked_for_is_the_one_that_is_taken(with_s3: Control, s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="k", Body=ZIP)["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=OTHER_ZIP)
    source = {"S3Bucket": bucket, "S3Key": "k"}
    assert (await code.package_of(with_s3.context, source)).content == OTHER_ZIP
    assert (await code.package_of(with_s3.context, {**source, "S3ObjectVersion": old})).content == ZIP
    with pytest.raises(InvalidParameterValueException, match=GET_OBJECT + "NoSuchVersion"):
        await code.package_of(with_s3.context, {**source, "S3ObjectVersion": "none"})


async def test_what_is_not_there_is_said_in_awss_words(with_s3: Control, bucket: str) -> None:
    with pytest.raises(InvalidParameterValueException) as key:
        await with_s3.create(Code={"S3Bucket": bucket, "S3Key": "missing"})
    assert key.value.message == GET_OBJECT + "NoSuchKey. S3 Error Message: The specified key does not exist."
    with pytest.raises(InvalidParameterValueException) as missing:
        await with_s3.create(Code={"S3Bucket": "no-such-bucket", "S3Key": "k"})
    assert missing.value.message == GET_OBJECT + "NoSuchBucket. S3 Error Message: The specified bucket does not exist"


@pytest.mark.parametrize("style", [True, False], ids=["path style", "bucket in the endpoint"])
@pytest.mark.parametrize("key", ["/k", "//k", "a//b", "/a/ü +&=~//b.zip"])
async def test_a_key_with_empty_parts_is_the_object_of_that_key(
    with_s3: Control, endpoint: str, s3: Any, bucket: str, key: str, style: bool
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=OTHER_ZIP)
    s3.put_object(Bucket=bucket, Key=key, Body=ZIP)
    settings = s3_settings(endpoint if style else f"{endpoint}/{bucket}", path_style=style)
    source = CodeSource(with_s3.context.settings.model_copy(update={"s3": settings}))
    assert await source.read(bucket, key, None, 1_000_000) == ZIP


@pytest.mark.parametrize("key", ["../k", "a//b", "a/../../etc/passwd", "<Code>NoSuchBucket</Code>", "a\nb", "/", "/k", "k/"])
async def test_a_key_that_no_object_can_have_is_not_there(with_s3: Control, s3: Any, bucket: str, key: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=ZIP)
    with pytest.raises(InvalidParameterValueException, match=GET_OBJECT + "NoSuchKey"):
        await code.package_of(with_s3.context, {"S3Bucket": bucket, "S3Key": key})


async def test_what_s3_denies_is_denied(with_s3: Control, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=ZIP)
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    with pytest.raises(AccessDeniedException) as denied:
        await code.package_of(with_s3.context, {"S3Bucket": bucket, "S3Key": "k"})
    assert denied.value.message.startswith(
        "Your access has been denied by S3, please make sure your request credentials have permission to GetObject for "
        f"{bucket}/k. S3 Error Code: AccessDenied."
    )


async def test_an_object_that_is_no_zip_or_too_large_is_refused(
    with_s3: Control, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket=bucket, Key="text", Body=b"no zip")
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    with pytest.raises(InvalidParameterValueException, match="Could not unzip"):
        await code.package_of(with_s3.context, {"S3Bucket": bucket, "S3Key": "text"})
    with pytest.raises(InvalidParameterValueException, match="non-empty"):
        await code.package_of(with_s3.context, {"S3Bucket": bucket, "S3Key": "empty"})
    monkeypatch.setattr(code, "UNZIPPED_BYTES_MAX", 1_000)
    s3.put_object(Bucket=bucket, Key="large", Body=bytes(1_001))
    with pytest.raises(InvalidParameterValueException, match="Unzipped size must be smaller than"):
        await code.package_of(with_s3.context, {"S3Bucket": bucket, "S3Key": "large"})


async def test_more_than_a_sent_zip_may_have_comes_through_s3(with_s3: Control, s3: Any, bucket: str) -> None:
    # Bytes ahead of an archive are allowed, and count.
    large = b"\x5a" * (51 * 1024 * 1024) + ZIP
    s3.put_object(Bucket=bucket, Key="large.zip", Body=large)
    name = await with_s3.create(Code={"S3Bucket": bucket, "S3Key": "large.zip"})
    assert (await with_s3("GetFunctionConfiguration", FunctionName=name))["CodeSize"] == len(large)


async def test_a_server_that_is_not_there_is_the_platforms_failure(
    registry_settings: Settings, registry: Registry, unused_tcp_port: int
) -> None:
    settings = registry_settings.model_copy(update={"s3": s3_settings(f"http://127.0.0.1:{unused_tcp_port}", timeout_s=3)})
    control = Control(settings, registry)
    with pytest.raises(ServiceException, match="could not be read from S3"):
        await control.create(Code={"S3Bucket": "bucket", "S3Key": "k"})
    store = PackageStore(settings.model_copy(update={"registry": RegistrySettings(package_store_url="s3://bucket")}))
    with pytest.raises(PackageError, match=r"could not be|cannot be"):
        await store.put(ZIP)


async def test_a_server_that_never_answers_is_given_up(registry_settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = registry_settings.model_copy(update={"s3": s3_settings(address, timeout_s=0.5)})
        with pytest.raises(ServiceException):
            await code.package_of(Control(settings, Registry(settings)).context, {"S3Bucket": "bucket", "S3Key": "k"})


async def test_an_object_that_is_too_large_is_not_read(registry_settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def lie() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                head = (
                    "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\nETag: x\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
                )
                connection.sendall(head.encode() + bytes(9_000))

        threading.Thread(target=lie, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        source = CodeSource(registry_settings.model_copy(update={"s3": s3_settings(address, timeout_s=5)}))
        with pytest.raises(SourceTooLargeError):
            await source.read("bucket", "k", None, 8_999)


async def test_a_folder_stands_in_for_s3(control: Control) -> None:
    folder = control.settings.data_dir / "s3" / "my-bucket"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "code.zip").write_bytes(ZIP)
    (control.settings.data_dir / "s3" / "secret.zip").write_bytes(ZIP)
    name = await control.create(Code={"S3Bucket": "my-bucket", "S3Key": "deep/code.zip"})
    assert (await control("GetFunctionConfiguration", FunctionName=name))["CodeSha256"] == hashed(ZIP)
    for bucket, key, version, refusal in (
        ("my-bucket", "nothing.zip", None, "NoSuchKey"),
        ("my-bucket", "deep", None, "NoSuchKey"),
        ("my-bucket", "../secret.zip", None, "NoSuchKey"),
        ("my-bucket", "/../secret.zip", None, "NoSuchKey"),
        ("my-bucket", "//deep//..//..//secret.zip", None, "NoSuchKey"),
        ("my-bucket", "/deep/", None, "NoSuchKey"),
        ("..", "s3/secret.zip", None, "NoSuchBucket"),
        ("other", "deep/code.zip", None, "NoSuchBucket"),
        ("my-bucket", "deep/code.zip", "1", "NoSuchVersion"),
    ):
        more = {} if version is None else {"S3ObjectVersion": version}
        with pytest.raises(InvalidParameterValueException, match=f"{GET_OBJECT}{refusal}\\. S3 Error Message: The specified"):
            await code.package_of(control.context, {"S3Bucket": bucket, "S3Key": key, **more})
    for key in ("/deep/code.zip", "deep//code.zip"):
        assert (await code.package_of(control.context, {"S3Bucket": "my-bucket", "S3Key": key})).content == ZIP
    null = {"S3Bucket": "my-bucket", "S3Key": "deep/code.zip", "S3ObjectVersion": "null"}
    assert (await code.package_of(control.context, null)).content == ZIP


async def test_a_folder_of_ones_own_is_named_by_its_address(registry_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a folder" / "bucket").mkdir(parents=True)
    (tmp_path / "a folder" / "bucket" / "k").write_bytes(b"x")
    url = (tmp_path / "a folder").as_uri()
    source = CodeSource(registry_settings.model_copy(update={"s3": S3Settings(endpoint_url=url)}))
    assert await source.read("bucket", "k", None, 10) == b"x"
    with pytest.raises(ConfigurationError, match="ENDPOINT_URL"):
        CodeSource(registry_settings.model_copy(update={"s3": S3Settings(endpoint_url="ftp://host")}))
