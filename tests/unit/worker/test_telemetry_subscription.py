"""What extensions may ask for when they subscribe to telemetry; every mistake is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.worker.sandbox.runtime_api.telemetry.lines import LineCutter
from services.worker.sandbox.runtime_api.telemetry.subscription import Api, read
from services.worker.sandbox.runtime_api.wire.replies import ApiError
from shared.domain.limits import LOG_EVENT_BYTES_MAX

HTTP = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/events"}


def body(**changes: Any) -> bytes:
    asked = {"schemaVersion": "2022-12-13", "types": ["platform", "function"], "destination": HTTP} | changes
    return msgspec.json.encode({key: value for key, value in asked.items() if value is not None})


def test_a_subscription_has_defaults() -> None:
    got = read(Api.TELEMETRY, body())
    assert (got.types, got.port, got.path, got.method) == (("platform", "function"), 8080, "/events", "POST")
    assert (got.items_max, got.bytes_max, got.timeout_s) == (10_000, 262_144, 1.0)
    assert got.has_json_records


def test_the_sandbox_has_two_names_and_tcp_takes_a_port() -> None:
    assert read(Api.TELEMETRY, body(destination={"protocol": "HTTP", "URI": "http://sandbox:9"})).path == "/"
    by_port = read(Api.TELEMETRY, body(destination={"protocol": "TCP", "port": 9}))
    by_uri = read(Api.TELEMETRY, body(destination={"protocol": "TCP", "URI": "sandbox.localdomain:9"}))
    assert (by_port.port, by_port.path) == (by_uri.port, by_uri.path) == (9, None)


def test_the_logs_api_has_versions_of_its_own_and_a_default_one() -> None:
    assert read(Api.LOGS, body(schemaVersion=None)).schema_version == "2020-08-15"
    assert not read(Api.LOGS, body(schemaVersion="2021-03-18")).has_json_records


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"types": [], "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain/"}},
            "URI port is not provided; types should not be empty",
        ),
        ({"types": ["platform", "metrics"]}, "type metrics is not supported"),
        ({"schemaVersion": "2020-08-15"}, "schemaVersion should be one of 2022-07-01, 2022-12-13, 2025-01-29"),
        ({"destination": None}, "destination is not provided"),
        ({"destination": {"protocol": "UDP"}}, "protocol should be HTTP or TCP"),
        ({"destination": HTTP | {"URI": "http://169.254.169.254:80/"}}, "URI host should be sandbox.localdomain"),
        ({"destination": HTTP | {"URI": "https://sandbox:80/"}}, "URI scheme should be http"),
        ({"destination": HTTP | {"URI": "http://sandbox:80/a b\r\nX: y"}}, "URI path is not valid"),
        ({"destination": HTTP | {"URI": "http://sandbox:99999/"}}, "URI is not valid"),
        ({"destination": {"protocol": "TCP", "port": 70_000}}, "port should be between 1 and 65535"),
        ({"buffering": {"maxItems": 999}}, "maxItems should be between 1000 and 10000"),
        ({"buffering": {"maxBytes": 1}}, "maxBytes should be between 262144 and 1048576"),
        ({"buffering": {"timeoutMs": 30_001}}, "timeoutMs should be between 25 and 30000"),
    ],
)
def test_what_is_wrong_is_told(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ApiError) as refused:
        read(Api.TELEMETRY, body(**changes))
    assert (refused.value.status, refused.value.error_type, refused.value.message) == (400, "Telemetry.ValidationError", text)


@pytest.mark.parametrize("garbage", [b"", b"[]", b"{", b'{"types": 1}', b"[" * 100_000, b"\xff"])
def test_garbage_is_a_validation_error(garbage: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        read(Api.LOGS, garbage)
    assert refused.value.error_type == "Logs.ValidationError"


def test_lines_are_told_when_they_have_ended() -> None:
    lines = LineCutter()
    assert list(lines.feed(b"a\nb", whole=False)) == ["a"]
    assert list(lines.feed(b"c\r\n\n", whole=False)) == ["bc"]
    assert list(lines.feed(b"one\nrecord\n", whole=True)) == ["one\nrecord"]
    assert list(lines.feed(b"open", whole=False)) == []
    assert list(lines.flush()) == ["open"]


def test_a_line_without_end_is_cut() -> None:
    lines = LineCutter()
    told = list(lines.feed(b"x" * (2 * LOG_EVENT_BYTES_MAX + 1), whole=False))
    assert [len(each) for each in told] == [LOG_EVENT_BYTES_MAX, LOG_EVENT_BYTES_MAX, 1]
    assert list(lines.flush()) == []
