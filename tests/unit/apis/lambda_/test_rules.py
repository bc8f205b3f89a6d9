from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from services.frontend.apis.lambda_ import code, environment, package_links, pages, settings_rules
from shared.domain.errors import InvalidParameterValueException, RequestEntityTooLargeException
from shared.settings import Settings
from tests import hostile_zips
from tests.support import zip_of

SETTINGS = Settings(cluster_secret=SecretStr("secret"))
SHA256 = "0" * 64
CONTEXT: Any = None
"""Code that is sent along needs none."""


def bomb(size_bytes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * size_bytes)
    return buffer.getvalue()


async def test_a_good_zip_passes() -> None:
    package = zip_of({"index.py": "x = 1", "large.bin": b"\1" * 200_000})
    assert await code.checked(package) == code.Package(package, hashlib.sha256(package).hexdigest(), 200_005, 2)


@pytest.mark.parametrize("what", hostile_zips.UNREADABLE)
async def test_what_cannot_be_unzipped_is_refused_in_awss_words(what: str) -> None:
    with pytest.raises(InvalidParameterValueException) as refused:
        await code.checked(hostile_zips.UNREADABLE[what])
    assert refused.value.message == "Could not unzip uploaded file. Please check your file, then try to upload again."


@pytest.mark.parametrize("what", hostile_zips.BY_RULE)
async def test_what_workers_would_refuse_is_refused_at_once_and_the_reason_is_said(what: str) -> None:
    with pytest.raises(InvalidParameterValueException) as refused:
        await code.checked(hostile_zips.BY_RULE[what])
    aws, _, reason = refused.value.message.partition(" Reason: ")
    assert aws == "Could not unzip uploaded file. Please check your file, then try to upload again."
    assert reason.endswith(".")
    assert len(reason) < 250


async def test_the_frontend_goes_on_while_a_large_package_is_checked() -> None:
    checking = asyncio.create_task(code.checked(bomb(50_000_000)))
    turns = 0
    while not checking.done():
        turns += 1
        await asyncio.sleep(0)
    assert (await checking).unzipped_bytes == 50_000_000
    assert turns > 100


@given(st.binary(max_size=300), st.integers(0, 200))
async def test_no_bytes_whatever_break_the_check(noise: bytes, at: int) -> None:
    package = zip_of({"a.py": "pass"})
    for candidate in (noise, package[:at] + noise + package[at + len(noise) :]):
        try:
            await code.checked(candidate)
        except InvalidParameterValueException:
            pass


async def test_one_source_of_code_is_named_and_only_one() -> None:
    for sent, message in (
        ({"ZipFile": b"x", "S3Bucket": "b", "S3Key": "k"}, "do not provide other FunctionCode parameters"),
        ({"S3Bucket": "bucket"}, "both S3Bucket and S3Key"),
        ({"S3Key": "key"}, "both S3Bucket and S3Key"),
        ({"S3Bucket": "bucket", "S3Key": "key", "S3ObjectStorageMode": "REFERENCE"}, "always copied"),
    ):
        with pytest.raises(InvalidParameterValueException, match=message):
            await code.package_of(CONTEXT, sent)


async def test_sizes_have_awss_limits() -> None:
    with pytest.raises(RequestEntityTooLargeException, match="Zipped size must be smaller than 52428800 bytes"):
        await code.package_of(CONTEXT, {"ZipFile": bytes(52_428_800)})
    with pytest.raises(InvalidParameterValueException, match="Unzipped size must be smaller than 262144000 bytes"):
        await code.checked(bomb(262_144_000))
    with pytest.raises(InvalidParameterValueException, match="non-empty"):
        await code.package_of(CONTEXT, {"ZipFile": b""})
    with pytest.raises(InvalidParameterValueException, match="non-empty"):
        await code.package_of(CONTEXT, {"ZipFile": zip_of({})})
    with pytest.raises(InvalidParameterValueException, match="provide a source"):
        await code.package_of(CONTEXT, {})


def test_environment_variables_may_have_4096_bytes_and_no_reserved_name() -> None:
    environment.validate({"LARGE_VAR": "x" * 4_080})
    with pytest.raises(InvalidParameterValueException, match=r"exceeded the 4KB limit\. String measured: ") as refused:
        environment.validate({"LARGE_VAR": "x" * 4_081})
    assert refused.value.message.endswith('x"}')
    with pytest.raises(InvalidParameterValueException, match=r"request: AWS_REGION, _HANDLER$"):
        environment.validate({"AWS_REGION": "a", "FINE": "b", "_HANDLER": "c"})
    environment.validate({"PATH": "a", "PYTHONPATH": "b", "TZ": "c"})


@pytest.mark.parametrize(
    "runtime", ["python3.12", "nodejs22.x", "provided.al2023", "java21", "dotnet8", "ruby3.3", "python3.15"]
)
def test_current_runtimes_are_accepted(runtime: str) -> None:
    settings_rules.validate_runtime(runtime)


@pytest.mark.parametrize("runtime", ["python3.7", "nodejs14.x", "go1.x", "PYTHON3.9", "non-existent-runtime", ""])
def test_other_runtimes_are_refused(runtime: str) -> None:
    with pytest.raises(InvalidParameterValueException, match=r"no longer supported|or be a valid ARN"):
        settings_rules.validate_runtime(runtime)


def test_a_link_is_good_for_its_package_and_its_time_only() -> None:
    url = package_links.sign(SETTINGS, SHA256, now_s=1_000)
    path, _, query = url.partition("?")
    assert path == f"http://127.0.0.1:9000/_lambdad/packages/{SHA256}"
    parts = dict(part.split("=") for part in query.split("&"))
    expires, signature = parts["expires"], parts["signature"]
    assert package_links.verify(SETTINGS, SHA256, expires, signature, now_s=1_600)
    assert not package_links.verify(SETTINGS, SHA256, expires, signature, now_s=1_601)
    assert not package_links.verify(SETTINGS, "1" * 64, expires, signature, now_s=1_000)
    assert not package_links.verify(SETTINGS, SHA256, str(int(expires) + 1), signature, now_s=1_000)
    assert not package_links.verify(Settings(cluster_secret=SecretStr("other")), SHA256, expires, signature, now_s=1_000)


@given(st.text(max_size=80), st.text(max_size=20), st.text(max_size=80))
def test_no_link_that_was_not_signed_is_good(sha256: str, expires: str, signature: str) -> None:
    assert not package_links.verify(SETTINGS, sha256, expires, signature)


def test_a_marker_is_read_back_and_nothing_else_is() -> None:
    assert pages.after({"Marker": pages.marker(("name", 3))}, tuple[str, int], ("", -1)) == ("name", 3)
    assert pages.after({}, str, "start") == "start"
    hostile: list[Any] = ["x", "é", "A" * 3_000, pages.marker(7), base64.urlsafe_b64encode(b"[" * 900).decode()]
    for marker in hostile:
        with pytest.raises(InvalidParameterValueException):
            pages.after({"Marker": marker}, str, "")
